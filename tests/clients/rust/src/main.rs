//! Calls a bank until it stops, and prints how each call ended. See ../programs.py.

use bytes::{Buf, BufMut, Bytes};
use serde_json::{json, Value};
use std::time::Duration;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{client::Grpc, Request, Status};

/// Messages as they are on the wire.
#[derive(Clone, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;
    fn encoder(&mut self) -> Raw {
        Raw
    }
    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }
}

async fn call_once(channel: Channel, call: &Value) -> Result<(), Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::try_from(call["method"].as_str().unwrap()).unwrap();
    let body = Bytes::from(unhex(call["body"].as_str().unwrap()));
    if call["stream"].as_bool().unwrap() {
        let mut stream = client.server_streaming(Request::new(body), path, Raw).await?.into_inner();
        while stream.message().await?.is_some() {}
        return Ok(());
    }
    client.unary(Request::new(body), path, Raw).await.map(|_| ())
}

async fn call_until_refused(address: String, kept: Option<Channel>, call: Value) -> Value {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut answers = 0;
    loop {
        let channel = kept.clone().unwrap_or_else(|| endpoint.connect_lazy());
        match call_once(channel, &call).await {
            Ok(()) => answers += 1,
            Err(status) => {
                return json!({
                    "method": call["method"], "kept": kept.is_some(), "answers": answers,
                    "code": status.code() as i32, "message": status.message(), "details": hex(status.details()),
                })
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[tokio::main]
async fn main() {
    let task: Value = serde_json::from_str(&std::env::args().nth(1).unwrap()).unwrap();
    let address = task["address"].as_str().unwrap().to_string();
    let kept = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut workers = Vec::new();
    for call in task["calls"].as_array().unwrap() {
        for _ in 0..task["workers"].as_u64().unwrap() {
            workers.push(tokio::spawn(call_until_refused(address.clone(), Some(kept.clone()), call.clone())));
        }
        workers.push(tokio::spawn(call_until_refused(address.clone(), None, call.clone())));
    }
    let mut ends = Vec::new();
    for worker in workers {
        ends.push(tokio::time::timeout(Duration::from_secs(30), worker).await.unwrap().unwrap());
    }
    println!("{}", Value::Array(ends));
}
