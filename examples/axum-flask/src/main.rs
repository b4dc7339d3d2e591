//! A Flask application below `/legacy` of an axum program: `axum-flask [ADDRESS]`.
//!
//! Run it from this folder, in an environment that has Flask. Axum's own routes never wait for Python.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use oxicorn::interop::tower::ServicePool;
use oxicorn::wsgi::App;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:8000".into());
    // Before the runtime: the pool starts Python, and imports the application.
    let pool = ServicePool::start(App::new("legacy:app"), 4)?;
    let legacy = pool.service().nested_at("/legacy");

    let site = Router::new()
        .route("/", get(|| async { "axum\n" }))
        .nest_service("/legacy", legacy)
        .layer(from_fn(announce_client));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("http://{}/", listener.local_addr()?);
        let mut terminate = signal(SignalKind::terminate())?;
        axum::serve(
            listener,
            site.into_make_service_with_connect_info::<SocketAddr>(),
        )
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await
    })?;
    pool.stop(Duration::from_secs(30))?;
    Ok(())
}

/// Gives the client's address to the application, for `REMOTE_ADDR`.
async fn announce_client(
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    request.extensions_mut().insert(client);
    next.run(request).await
}
