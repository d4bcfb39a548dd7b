//! Hears what people are told unasked.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use skerry_agent::{
    agent::Agent,
    alerts::{Messages, Told},
};

/// Hears what people are told.
pub struct Ear {
    pub heard: Mutex<Vec<Told>>,
    pub deaf: Mutex<bool>,
    rang: tokio::sync::Notify,
}

#[async_trait]
impl Messages for Ear {
    async fn tell(&self, told: Told) -> bool {
        if *self.deaf.lock().unwrap() {
            return false;
        }
        self.heard.lock().unwrap().push(told);
        self.rang.notify_one();
        true
    }
}

impl Ear {
    pub fn of(agent: &Agent) -> Arc<Self> {
        let ear = Arc::new(Self {
            heard: Mutex::default(),
            deaf: Mutex::default(),
            rang: tokio::sync::Notify::new(),
        });
        let weak: std::sync::Weak<Self> = Arc::downgrade(&ear);
        agent.messages_by(weak);
        ear
    }

    pub fn texts(&self) -> Vec<String> {
        self.heard.lock().unwrap().iter().map(|told| format!("{}: {}", told.to, told.text)).collect()
    }

    pub async fn next(&self, nth: usize) -> Told {
        loop {
            if let Some(told) = self.heard.lock().unwrap().get(nth) {
                return told.clone();
            }
            self.rang.notified().await;
        }
    }

    /// Waits until somebody was told this.
    pub async fn told(&self, to: &str, says: &str) -> Told {
        let mut nth = 0;
        loop {
            let told = self.next(nth).await;
            if told.to.as_str() == to && told.text.contains(says) {
                return told;
            }
            nth += 1;
        }
    }
}
