//! A listener on threads of its own, so that a flood of what it answers can't keep the other listeners' requests
//! waiting: a revoke must get through while everybody verifies.

use super::{Front, Listener};
use crate::config::Place;
use std::io::{Error, Result};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// A place that is listened at, with its threads.
pub struct Apart {
    listener: Listener,
    handle: Handle,
    threads: Threads,
}

/// A listener that serves.
pub struct Serving {
    task: JoinHandle<()>,
    _threads: Threads,
}

/// A runtime that may be dropped in a task of another one, which waiting for its threads would block.
struct Threads(Option<Runtime>);

impl Apart {
    /// Begins to listen.
    pub async fn bind(place: &Place) -> Result<Self> {
        // As many workers as there are cores: the system shares these out between the two runtimes, fairly.
        let runtime = Builder::new_multi_thread().thread_name("verification").enable_all().build()?;
        let place = place.clone();
        let listener = runtime.spawn(async move { Listener::bind(&place).await });
        let (handle, threads) = (runtime.handle().clone(), Threads(Some(runtime)));
        Ok(Self { listener: listener.await.map_err(Error::other)??, handle, threads })
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        self.listener.address()
    }

    /// Serves as [`Listener::serve`] does.
    pub fn serve(self, front: Front, stop: impl Future<Output = ()> + Send + 'static) -> Serving {
        let task = self.handle.spawn(self.listener.serve(front, stop));
        Serving { task, _threads: self.threads }
    }
}

impl Serving {
    /// Done when the listener has stopped and its requests have ended.
    pub async fn ended(self) {
        if let Err(error) = self.task.await {
            tracing::error!("a listener has failed: {error}");
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
