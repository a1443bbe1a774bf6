//! The relay against real sockets.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

const SHORT: Limits = Limits {
    hold: Duration::from_millis(600),
    drain: Duration::from_millis(100),
};

/// A relay towards `to`: its address, and what stops it.
async fn start(
    to: SocketAddr,
    only: Option<IpAddr>,
) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let listener = server::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let only = only.map(|gateway| Visitors {
        gateway,
        guest: None,
    });
    let task = tokio::spawn(serve(
        vec![Door { listener, only }],
        Upstream::Address(to),
        SHORT,
        async {
            let _ = stopped.await;
        },
    ));
    (address, stop, task)
}

/// An address where nobody listens yet.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[tokio::test]
async fn a_connection_is_held_until_the_registry_listens() {
    let to = nobody();
    let (address, _stop, _) = start(to, None).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"early").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;

    let registry = server::listen(to).unwrap();
    let (mut upstream, _) = registry.accept().await.unwrap();
    let mut heard = [0; 5];
    upstream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"early");
}

#[tokio::test]
async fn after_the_hold_the_answer_is_503_and_readable_json() {
    let (address, _stop, _) = start(nobody(), None).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    // More than the socket buffers hold, so that it must be drained for the answer to arrive.
    let (mut read, mut write) = client.split();
    let upload = async {
        let _ = write.write_all(&vec![0; 512 * 1024]).await;
    };
    let mut answer = String::new();
    let (_, heard) = tokio::join!(upload, read.read_to_string(&mut answer));
    heard.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["errors"][0]["code"], "UNAVAILABLE");
}

#[tokio::test]
async fn a_half_closed_connection_still_carries_the_answer() {
    let registry = server::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let (address, _stop, _) = start(registry.local_addr().unwrap(), None).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();

    let (mut upstream, _) = registry.accept().await.unwrap();
    let mut question = Vec::new();
    upstream.read_to_end(&mut question).await.unwrap();
    assert_eq!(question, b"question");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let large = vec![7; 3 * 1024 * 1024];
    upstream.write_all(&large).await.unwrap();
    drop(upstream);

    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, large);
}

#[tokio::test]
async fn much_goes_both_ways_at_once_and_stays_what_it_is() {
    const BYTES: usize = 24 << 20;
    let registry = server::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let (address, _stop, _) = start(registry.local_addr().unwrap(), None).await;
    let client = TcpStream::connect(address).await.unwrap();
    let (upstream, _) = registry.accept().await.unwrap();
    // Two contents, neither of which repeats itself at the length of a buffer.
    let content = |seed: usize| -> Vec<u8> {
        let byte = |at: usize| (at.wrapping_mul(2_654_435_761) >> 7) as u8 ^ (at % seed) as u8;
        (0..BYTES).map(byte).collect()
    };
    let (up, down) = (content(251), content(241));
    let exchange = async |mut stream: TcpStream, own: &[u8], others: &[u8]| {
        let (mut read, mut write) = stream.split();
        let send = async {
            write.write_all(own).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let hear = async {
            let mut heard = vec![0; BYTES / 2];
            read.read_exact(&mut heard).await.unwrap();
            // Everything in between is full now.
            tokio::time::sleep(Duration::from_millis(300)).await;
            read.read_to_end(&mut heard).await.unwrap();
            assert!(heard == others, "{} bytes are others", heard.len());
        };
        tokio::join!(send, hear);
    };
    tokio::join!(exchange(client, &up, &down), exchange(upstream, &down, &up));
}

/// After the first bytes of a request, and in the middle of its body.
#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    for heard_of_it in [4, 2 << 20] {
        let registry = server::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let (address, _stop, _) = start(registry.local_addr().unwrap(), None).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut upstream, _) = registry.accept().await.unwrap();
        let (mut read, mut write) = client.split();
        let sending = async {
            let _ = write.write_all(&vec![0; 8 << 20]).await;
            let _ = write.shutdown().await;
        };
        let answering = async move {
            let mut first = vec![0; heard_of_it];
            upstream.read_exact(&mut first).await.unwrap();
            upstream.write_all(b"HTTP/1.1 413 \r\n\r\n").await.unwrap();
        };
        let mut answer = Vec::new();
        let (_, _, heard) = tokio::join!(sending, answering, read.read_to_end(&mut answer));
        heard.unwrap();
        assert_eq!(answer, b"HTTP/1.1 413 \r\n\r\n");
    }
}

#[tokio::test]
async fn who_is_not_the_gateway_is_reset() {
    let registry = server::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let (address, _stop, _) = start(
        registry.local_addr().unwrap(),
        Some("192.0.2.1".parse().unwrap()),
    )
    .await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let error = client.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_stop_lets_a_transfer_finish_and_does_not_wait_for_idle_connections() {
    let registry = server::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let (address, stop, task) = start(registry.local_addr().unwrap(), None).await;
    let _idle = TcpStream::connect(address).await.unwrap();
    let (_idle_upstream, _) = registry.accept().await.unwrap();
    let mut busy = TcpStream::connect(address).await.unwrap();
    let (mut upstream, _) = registry.accept().await.unwrap();
    stop.send(()).unwrap();
    for _ in 0..6 {
        upstream.write_all(b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    drop(upstream);
    let mut heard = Vec::new();
    busy.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"xxxxxx");
    tokio::time::timeout(Duration::from_secs(5), task)
        .await
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
