//! Who tells who a client is, for a whole application: a provider of the program or the settings
//! enter, one provider or none leaves.

use std::sync::Arc;

use super::app_error::AppError;
use crate::auth::{Access, Provider, Requirement};
use crate::settings::AuthSettings;

/// What the application says about its clients.
#[derive(Default)]
pub(super) struct Door {
    /// Of the operations; its provider is that of the whole application.
    pub(super) operations: Access,
}

impl Door {
    pub(super) fn provider(&self) -> Option<&Arc<dyn Provider>> {
        self.operations.provider.as_ref()
    }

    pub(super) fn install(&mut self, provider: impl Provider) {
        self.operations.provider = Some(Arc::new(provider));
    }

    pub(super) fn require(&mut self, requirement: Requirement) {
        self.operations.requirement = requirement;
    }

    pub(super) fn open_operations(&mut self) {
        self.operations.is_public = true;
    }

    /// Takes the provider of the settings, where the program gave none.
    pub(super) fn settle(mut self, settings: &AuthSettings) -> Result<Self, AppError> {
        if self.provider().is_none() {
            self.operations.provider = configured(settings)?;
        }
        match self.operations.fault() {
            Some(reason) => Err(AppError::Operations { reason }),
            None => Ok(self),
        }
    }
}

#[cfg(feature = "auth")]
fn configured(settings: &AuthSettings) -> Result<Option<Arc<dyn Provider>>, AppError> {
    let provider = crate::auth::JwtProvider::from_settings(settings)?;
    Ok(provider.map(|provider| Arc::new(provider) as Arc<dyn Provider>))
}

/// Settings that nobody heeds would leave everything open.
#[cfg(not(feature = "auth"))]
fn configured(settings: &AuthSettings) -> Result<Option<Arc<dyn Provider>>, AppError> {
    let AuthSettings { secret, public_key_file, algorithm, .. } = settings;
    let is_set = secret.is_some() || public_key_file.is_some() || algorithm.is_some();
    if is_set { Err(AppError::NoTokens) } else { Ok(None) }
}

#[cfg(all(test, not(feature = "auth")))]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn a_key_that_nothing_can_use_is_a_fault() {
        let secret = [("AUTH_SECRET", "a secret of the tests, long enough")];
        let settings = Settings::from_vars(secret).unwrap().auth;
        let Err(refusal) = Door::default().settle(&settings) else {
            panic!("it would leave everything open");
        };
        assert!(matches!(refusal, AppError::NoTokens), "{refusal}");
        assert!(Door::default().settle(&Settings::default().auth).is_ok());
    }
}
