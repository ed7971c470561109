//! Requests to the hosts that the plugin was granted. A guest that imports this runs on threads of its own.

use std::time::Duration;

use plugin_api::{HttpError, HttpRequest};

use crate::bindings::imported::http::{Error, Host, Request, Response};
use crate::state::State;

impl Host for State {
    async fn send(&mut self, request: Request) -> Result<Response, Error> {
        let client = self.services.host().and_then(|host| host.http());
        let client = client.ok_or(Error::Denied)?;
        let request = HttpRequest {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body.into(),
            timeout: (request.timeout_ms > 0).then(|| Duration::from_millis(request.timeout_ms.into())),
        };
        let response = client.send(request).await.map_err(|error| match error {
            HttpError::Denied(_) => Error::Denied,
            HttpError::Timeout => Error::Timeout,
            HttpError::TooLarge => Error::TooLarge,
            error => Error::Failed(error.to_string()),
        })?;
        Ok(Response {
            status: response.status,
            headers: response.headers,
            body: response.body.into(),
        })
    }
}
