//! Past Docker's proxy (decision 014): the API server of a cluster in containers is published on a loopback of this machine, and
//! what is forwarded need not go through the process that Docker has for that.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use tokio::time::timeout;
use tower::{BoxError, ServiceExt};

use crate::docker::Docker;

/// How long the engine may take to answer. Without its answer nothing is lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// A network on this machine answers at once or not at all.
const CONNECT_PATIENCE: Duration = Duration::from_millis(500);

/// Where the container listens that is behind the published port of an API server. `None` where there is none, or where this machine
/// cannot reach it: an engine elsewhere, or in a virtual machine.
pub(super) async fn published(server: &Uri) -> Option<SocketAddr> {
    let host = server.host()?.trim_matches(['[', ']']);
    let is_loopback = host == "localhost"
        || host
            .parse()
            .is_ok_and(|ip: IpAddr| ip.is_loopback() || ip == Ipv4Addr::UNSPECIFIED);
    if !cfg!(target_os = "linux") || !is_loopback {
        return None;
    }
    let port = server.port_u16()?;
    let ask = async {
        let docker = Docker::connect().await.ok()?;
        match docker.is_local() {
            true => docker.behind(port).await.ok()?,
            false => None,
        }
    };
    timeout(PATIENCE, ask).await.ok()?
}

/// A connector that connects to a container instead of the port that it publishes, until that fails once. Who it is that answers is
/// for TLS to find out, above this: the name that is verified stays the same.
#[derive(Debug, Clone)]
pub(super) struct Behind<C> {
    connector: C,
    container: Option<SocketAddr>,
    is_out_of_reach: Arc<AtomicBool>,
}

impl<C> Behind<C> {
    pub(super) fn new(connector: C, container: Option<SocketAddr>) -> Self {
        Self {
            connector,
            container,
            is_out_of_reach: Arc::default(),
        }
    }
}

impl<C> tower::Service<Uri> for Behind<C>
where
    C: tower::Service<Uri> + Clone + Send + 'static,
    C::Response: Send,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let Self {
            connector,
            container,
            is_out_of_reach,
        } = self.clone();
        Box::pin(async move {
            let container = container.filter(|_| !is_out_of_reach.load(Ordering::Relaxed));
            if let Some(address) = container {
                let there = Uri::builder()
                    .scheme("https")
                    .authority(address.to_string())
                    .path_and_query("/")
                    .build()?;
                let connecting = connector.clone().oneshot(there);
                if let Ok(Ok(stream)) = timeout(CONNECT_PATIENCE, connecting).await {
                    return Ok(stream);
                }
                tracing::info!(%address, %server, "Docker's network cannot be reached, so the published port");
                is_out_of_reach.store(true, Ordering::Relaxed);
            }
            connector.oneshot(server).await.map_err(Into::into)
        })
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::client::legacy::connect::HttpConnector;
    use hyper_util::rt::TokioIo;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn peer(behind: Behind<HttpConnector>, server: SocketAddr) -> SocketAddr {
        let uri: Uri = format!("https://{server}").parse().unwrap();
        let stream: TokioIo<TcpStream> = behind.oneshot(uri).await.unwrap();
        stream.inner().peer_addr().unwrap()
    }

    #[tokio::test]
    async fn the_published_port_is_for_when_the_container_cannot_be_reached() {
        let listen = || TcpListener::bind("127.0.0.1:0");
        let (published, container) = (listen().await.unwrap(), listen().await.unwrap());
        let server = published.local_addr().unwrap();
        let address = container.local_addr().unwrap();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        let behind = Behind::new(http, Some(address));
        assert_eq!(peer(behind.clone(), server).await, address);
        drop(container);
        assert_eq!(peer(behind.clone(), server).await, server);
        assert!(behind.is_out_of_reach.load(Ordering::Relaxed));
        assert_eq!(peer(behind, server).await, server);
    }

    #[tokio::test]
    async fn only_a_loopback_is_published() {
        for server in ["https://10.0.0.7:6443", "https://kubernetes.example:6443"] {
            assert_eq!(published(&server.parse().unwrap()).await, None);
        }
    }
}
