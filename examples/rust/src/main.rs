use std::time::{Duration, Instant};

use openbank::accounts::v1::accounts_service_client::AccountsServiceClient;
use openbank::accounts::v1::watch_account_events_request::Start;
use openbank::accounts::v1::{DepositRequest, WatchAccountEventsRequest};
use openbank::common::v1::Money;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

include!(concat!(env!("OUT_DIR"), "/openbank.rs")); // The modules, by build.rs.

/// Whether an error is the bank's answer, which the same request would get again.
fn decided(error: &Status) -> bool {
    let bank = error.get_details_error_info().is_some_and(|info| info.domain == "openbank");
    bank && !matches!(error.code(), Code::Unavailable | Code::ResourceExhausted)
}

/// Deposits once, and calls until there is an answer or a decision, for a minute at most.
async fn deposit(bank: &mut AccountsServiceClient<Channel>, deposit: DepositRequest) -> Result<i64, Status> {
    let (end, mut wait) = (Instant::now() + Duration::from_secs(60), Duration::from_millis(100));
    loop {
        let mut request = Request::new(deposit.clone());
        request.set_timeout(Duration::from_secs(10));
        match bank.deposit(request).await {
            Ok(answer) => return Ok(answer.into_inner().account.unwrap_or_default().balance.unwrap_or_default().units),
            Err(error) if decided(&error) || Instant::now() + wait > end => return Err(error),
            Err(_) => tokio::time::sleep(wait).await,
        }
        wait = (2 * wait).min(Duration::from_secs(5));
    }
}

/// Handles all events of an account, and resumes after interruptions.
async fn watch(bank: &mut AccountsServiceClient<Channel>, account_id: &str) -> Result<(), Status> {
    let mut request = WatchAccountEventsRequest {
        account_ids: vec![account_id.into()],
        stop_when_caught_up: true,
        start: Some(Start::Beginning(())),
        ..Default::default()
    };
    loop {
        let error = match bank.watch_account_events(request.clone()).await {
            Err(error) => error,
            Ok(answer) => {
                let mut responses = answer.into_inner();
                loop {
                    match responses.message().await {
                        Ok(None) => return Ok(()),
                        Err(error) => break error,
                        Ok(Some(response)) => {
                            for event in &response.events {
                                let balance = event.balance.clone().unwrap_or_default();
                                println!("{} {} {}", event.revision, event.r#type().as_str_name(), balance.units);
                            }
                            // Keep this token in the transaction with what you made of the events.
                            request.start = Some(Start::ResumeToken(response.resume_token));
                        }
                    }
                }
            }
        };
        if decided(&error) {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let channel = Endpoint::from_shared(format!("http://{}", arguments[1]))?
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .connect_lazy(); // Connects again for the next call after a connection is lost.
    let mut bank = AccountsServiceClient::new(channel);
    let request = DepositRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
        account_id: arguments[2].clone(),
        amount: Some(Money { currency_code: "USD".into(), units: 25, nanos: 0 }),
        ..Default::default()
    };
    println!("balance {}", deposit(&mut bank, request).await?);
    watch(&mut bank, &arguments[2]).await?;
    Ok(())
}
