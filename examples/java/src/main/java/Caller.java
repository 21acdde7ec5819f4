import com.google.protobuf.Any;
import com.google.protobuf.Empty;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import io.grpc.ManagedChannel;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.protobuf.StatusProto;
import io.openbank.accounts.v1.AccountEvent;
import io.openbank.accounts.v1.AccountsServiceGrpc;
import io.openbank.accounts.v1.AccountsServiceGrpc.AccountsServiceBlockingStub;
import io.openbank.accounts.v1.DepositRequest;
import io.openbank.accounts.v1.WatchAccountEventsRequest;
import io.openbank.accounts.v1.WatchAccountEventsResponse;
import io.openbank.common.v1.Money;
import java.util.Iterator;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

public class Caller {
  /** Whether an error is the bank's answer, which the same request would get again. */
  static boolean decided(StatusRuntimeException error) throws InvalidProtocolBufferException {
    for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
      if (detail.is(ErrorInfo.class) && detail.unpack(ErrorInfo.class).getDomain().equals("openbank")) {
        Code code = error.getStatus().getCode();
        return code != Code.UNAVAILABLE && code != Code.RESOURCE_EXHAUSTED;
      }
    }
    return false;
  }

  /** Calls until there is an answer or a decision, for a minute at most. */
  static <T> T again(Supplier<T> call) throws Exception {
    long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(1);
    for (long wait = 100; ; wait = Math.min(2 * wait, 5_000)) {
      try {
        return call.get();
      } catch (StatusRuntimeException error) {
        if (decided(error) || System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(wait) > end) throw error;
        Thread.sleep(wait);
      }
    }
  }

  /** Handles all events of an account, and resumes after interruptions. */
  static void watch(AccountsServiceBlockingStub bank, String accountId) throws Exception {
    WatchAccountEventsRequest.Builder request = WatchAccountEventsRequest.newBuilder()
        .addAccountIds(accountId).setStopWhenCaughtUp(true).setBeginning(Empty.getDefaultInstance());
    while (true) {
      try {
        Iterator<WatchAccountEventsResponse> responses = bank.watchAccountEvents(request.build());
        while (responses.hasNext()) {
          WatchAccountEventsResponse response = responses.next();
          for (AccountEvent event : response.getEventsList()) {
            System.out.println(event.getRevision() + " " + event.getType() + " "
                + event.getBalance().getUnits() + " " + event.getBalance().getCurrencyCode());
          }
          // Keep this token in the transaction with what you made of the events.
          request.setResumeToken(response.getResumeToken());
        }
        return;
      } catch (StatusRuntimeException error) {
        if (decided(error)) throw error;
        Thread.sleep(1_000);
      }
    }
  }

  public static void main(String[] arguments) throws Exception {
    ManagedChannel channel = NettyChannelBuilder.forTarget(arguments[0]).usePlaintext()
        .keepAliveTime(30, TimeUnit.SECONDS).keepAliveTimeout(10, TimeUnit.SECONDS).keepAliveWithoutCalls(true)
        .build();
    AccountsServiceBlockingStub bank = AccountsServiceGrpc.newBlockingStub(channel);
    DepositRequest deposit = DepositRequest.newBuilder()
        .setRequestId(UUID.randomUUID().toString()).setAccountId(arguments[1])
        .setAmount(Money.newBuilder().setCurrencyCode("USD").setUnits(25)).build();
    System.out.println("balance " + again(() -> bank.withDeadlineAfter(10, TimeUnit.SECONDS).deposit(deposit))
        .getAccount().getBalance().getUnits());
    watch(bank, arguments[1]);
    channel.shutdown().awaitTermination(5, TimeUnit.SECONDS);
  }
}
