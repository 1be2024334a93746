//! Tests of the kinds: errors as providers send them.

use super::ErrorKind as K;
use crate::model::provider_error::ProviderError;

fn check(errors: &[(u16, &str, K)]) {
    for (status, body, expected) in errors {
        let status = Some(*status).filter(|status| *status != 200);
        let kind = ProviderError::read(status, body.as_bytes(), &[]).kind;
        assert_eq!(kind, *expected, "{status:?} {body}");
    }
}

#[test]
fn accounts_models_and_addresses_are_told_apart() {
    check(&[
        (401, r#"{"error":{"message":"Incorrect API key provided"}}"#, K::RefusedKey),
        (403, r#"{"error":{"message":"Your API key lacks permission"}}"#, K::RefusedKey),
        (
            400,
            r#"[{"error":{"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]"#,
            K::RefusedKey,
        ),
        (
            403,
            r#"{"error":{"message":"model requires moderation and your input was flagged. No credits were charged."}}"#,
            K::Moderation,
        ),
        (
            400,
            r#"{"error":{"code":"data_inspection_failed","message":"Input data may contain inappropriate content."}}"#,
            K::Moderation,
        ),
        (403, r#"{"error":{"message":"Country, region, or territory not supported"}}"#, K::Region),
        (400, r#"[{"error":{"message":"User location is not supported for the API use."}}]"#, K::Region),
        (403, r#"{"error":{"message":"blocked by the operator of this gateway"}}"#, K::Refused),
        (402, r#"{"error":{"message":"Insufficient Balance"}}"#, K::Quota),
        (
            429,
            r#"{"error":{"message":"You exceeded your current quota, please check your plan","type":"insufficient_quota"}}"#,
            K::Quota,
        ),
        (
            429,
            r#"[{"error":{"message":"You exceeded your current quota. Please retry in 20.1s."}}]"#,
            K::RateLimited,
        ),
        (
            400,
            r#"{"code":"Arrearage","message":"Access denied, please make sure your account is in good standing."}"#,
            K::Quota,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
            K::Quota,
        ),
        (
            200,
            r#"{"error":{"message":"Rate limit exceeded: free-models-per-day. Add 10 credits","code":429}}"#,
            K::Quota,
        ),
        (429, r#"{"error":{"message":"Rate limit reached for TPM"}}"#, K::RateLimited),
        (
            404,
            r#"{"error":{"message":"The model `gpt-4.1` does not exist or you do not have access to it."}}"#,
            K::ModelNotFound,
        ),
        (404, r#"{"error":"model 'x' not found, try pulling it first"}"#, K::ModelNotFound),
        (
            404,
            r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#,
            K::ModelNotFound,
        ),
        (400, r#"{"error":{"message":"x/y is not a valid model ID","code":400}}"#, K::ModelNotFound),
        (404, "404 page not found", K::BadUrl),
        (404, r#"{"detail":"Not Found"}"#, K::BadUrl),
        (405, r#"{"detail":"Method Not Allowed"}"#, K::BadUrl),
        (308, "", K::BadUrl),
        (400, "Client sent an HTTP request to an HTTPS server.", K::BadUrl),
    ]);
}

#[test]
fn lengths_limits_and_outages_are_told_apart() {
    check(&[
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 32768 tokens. However, you requested 40000"}}"#,
            K::ContextTooLong,
        ),
        (
            400,
            r#"{"type":"error","error":{"message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
            K::ContextTooLong,
        ),
        (
            400,
            r#"{"error":{"message":"Provider returned error","metadata":{"raw":"`inputs` tokens + `max_new_tokens` must be <= 40960. Given: 45120"}}}"#,
            K::ContextTooLong,
        ),
        (
            400,
            r#"{"error":{"message":"the request exceeds the available context size","n_ctx":4096}}"#,
            K::ContextTooLong,
        ),
        (
            200,
            r#"{"object":"error","message":"This model's maximum context length is 8,192 tokens.","code":400}"#,
            K::ContextTooLong,
        ),
        (
            429,
            r#"{"error":{"message":"Request too large for gpt-4 on tokens per min (TPM): Limit 10000"}}"#,
            K::ContextTooLong,
        ),
        (413, "<html><title>413 Request Entity Too Large</title></html>", K::ContextTooLong),
        (429, r#"{"error":{"message":"Too many tokens, please wait before trying again."}}"#, K::RateLimited),
        (
            422,
            r#"{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}"#,
            K::Refused,
        ),
        (400, r#"{"error":{"message":"max_tokens is too large: 99999"}}"#, K::Refused),
        (
            400,
            r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model."}}"#,
            K::Refused,
        ),
        (503, r#"{"error":{"message":"Loading model"}}"#, K::Unavailable),
        (529, r#"{"error":{"message":"Overloaded"}}"#, K::Unavailable),
        (502, "<html><title>502 Bad Gateway</title></html>", K::Unavailable),
        (504, "", K::Unavailable),
        (409, "", K::Unavailable),
        (200, r#"{"error":{"message":"upstream broke","code":502}}"#, K::Unavailable),
        (200, r#"{"error":"something"}"#, K::Unavailable),
    ]);
}
