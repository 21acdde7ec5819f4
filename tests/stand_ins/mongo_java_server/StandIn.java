import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.net.InetSocketAddress;
import java.util.List;

/** mongo-java-server in memory, for tests: `java StandIn HOST PORT`, where port 0 is any free one. */
public final class StandIn {
  /**
   * MongoDB 5.0 with its own wire version, which MongoDB's manual gives as 13. The library's MONGO_5_0 announces 8, the
   * wire version of 4.2, and PyMongo 4.20 needs at least 4.4.
   */
  private static final class MongoDB5 implements MongoVersion {
    @Override
    public List<Integer> getVersionArray() {
      return List.of(5, 0, 0);
    }

    @Override
    public int getWireVersion() {
      return 13;
    }
  }

  private StandIn() {}

  public static void main(String[] arguments) {
    MongoServer server = new MongoServer(new MemoryBackend().version(new MongoDB5()));
    server.bind(arguments[0], Integer.parseInt(arguments[1]));
    InetSocketAddress address = server.getLocalAddress();
    System.out.printf("mongo-java-server ready on %s:%d%n", arguments[0], address.getPort());
  }
}
