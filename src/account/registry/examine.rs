//! Examinations of tokens that are no account yet. Nothing is stored.

use actix::{Handler, Message, ResponseFuture};

use super::RegistryActor;
use crate::account::doctor::view::Diagnosis;
use crate::account::doctor::{Access, Examination, Offer};
use crate::account::login::probe_model;
use crate::account::minting::{self, GatewayChoice};
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::id::Generation;
use crate::domain::secret::Secret;
use crate::gitlab::error::{Call, not_the_api};
use crate::gitlab::gateway::Grant;
use crate::gitlab::rest::Session;
use crate::store::Credential;

/// Asks for a full examination of a personal access token.
#[derive(Debug, Message)]
#[rtype(result = "Diagnosis")]
pub(crate) struct ExamineToken {
    pub(crate) instance: InstanceUrl,
    pub(crate) token: Secret<String>,
    /// The gateway, if the operator knows better than GitLab.
    pub(crate) gateway_url: Option<GatewayUrl>,
}

impl Handler<ExamineToken> for RegistryActor {
    type Result = ResponseFuture<Diagnosis>;

    fn handle(&mut self, asked: ExamineToken, _: &mut Self::Context) -> Self::Result {
        let office = self.office.clone();
        Box::pin(async move {
            let ExamineToken { instance, token, gateway_url } = asked;
            let session = Session { upstream: office.upstreams.of(&instance), instance: &instance, token: &token };
            let credential =
                Credential::PersonalAccessToken { token: token.clone(), scopes: Vec::new(), expires_on: None };
            let (mut exam, go_on) = Examination::begin(session, &credential, office.clock.now()).await;
            if !go_on {
                return exam.end(None, &[]);
            }
            let probe = probe_model(&office.catalogue);
            let fixed = gateway_url.or_else(|| office.configured_gateway(&instance));
            let choice = GatewayChoice { fixed, reported: None };
            let minted = minting::grant(session, &choice, &probe).await.and_then(|mint| {
                let grant = Grant::new(&mint.minted, Generation::default(), mint.gateway.clone());
                let grant = grant.ok_or_else(|| not_the_api(Call::Mint))?;
                Ok((grant, mint.minted.root_namespace_id))
            });
            let access = minted.as_ref().map(|(grant, root)| Access { grant, root_namespace_id: root.as_deref() });
            let configured = office.settings.model.as_ref();
            let offer = Offer { catalogue: &office.catalogue, configured, probe: &probe };
            exam.go_on(session, access, &offer, office.clock.now()).await;
            exam.end(None, &[])
        })
    }
}
