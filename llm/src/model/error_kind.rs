//! What kind of error a provider has answered with: by its status, and by the words and the codes of its body. Pure.

/// What kind of error a provider has answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// It fails, or is overloaded, or still loads its model.
    Unavailable,
    /// Too many requests or tokens in a short time.
    RateLimited,
    /// The account has no money or quota left.
    Quota,
    /// It does not take the key.
    RefusedKey,
    /// The request was flagged.
    Moderation,
    /// It does not serve this country or region.
    Region,
    /// It has no such model.
    ModelNotFound,
    /// The request is longer than the model's context.
    ContextTooLong,
    /// There is no such API at this address.
    BadUrl,
    /// It refuses the request for another reason.
    Refused,
}

/// Words by which errors of one kind are known, together with one of some statuses.
struct Class {
    kind: ErrorKind,
    /// The statuses; 200 stands for an error in a reply that names none.
    statuses: &'static [u16],
    /// The words, separated by ` | `.
    words: &'static str,
}

/// The kinds that are known by more than the status; the first class that applies counts.
const CLASSES: [Class; 8] = [
    Class {
        kind: ErrorKind::Moderation,
        statuses: &[200, 400, 403, 422, 451],
        words: "moderation | flagged | content management policy | content policy | content_policy | usage policies | \
                safety system | inappropriate content | content filter | content_filter | prohibited content | \
                sensitive content | sensitive words | data_inspection_failed | datainspectionfailed | responsibleai | \
                敏感 | 违规 | 不合规",
    },
    Class {
        kind: ErrorKind::Region,
        statuses: &[200, 400, 401, 403, 451],
        words: "country, region | in your country | in your region | unsupported_country | unsupported_region | \
                location is not supported | region is not supported | country is not supported | \
                not available in this region | your country, region",
    },
    Class {
        kind: ErrorKind::ContextTooLong,
        statuses: &[200, 400, 413, 422, 500],
        words: "maximum context | context length | context_length | context window | context_window | context size | \
                context limit | exceed_context | exceeds the context | prompt is too long | prompt too long | \
                prompt length | input is too long | input too long | input_too_long | input length | \
                too many input tokens | input token count | input tokens exceed | token count exceeds | max_new_tokens | \
                max_model_len | max_prompt_tokens | n_ctx | reduce the length | reduce your prompt | maximum input | \
                maximum number of tokens | longer than the maximum | longer than the model | request_too_large | \
                token limit exceeded | model token limit | string_above_max_length | 上下文 | 输入长度",
    },
    // a limit per minute that is smaller than the request never lets it pass
    Class { kind: ErrorKind::ContextTooLong, statuses: &[429], words: "request too large for" },
    Class {
        kind: ErrorKind::Quota,
        statuses: &[200, 400, 401, 403, 429],
        words: "insufficient_quota | insufficient quota | insufficient_balance | insufficient balance | \
                insufficient_credit | insufficient credit | insufficient_funds | insufficient funds | \
                insufficient account | exceeded your current quota | exceeded_current_quota | out of credits | \
                more credits | add credits | credits to unlock | credit balance | credits_exhausted | no credits left | \
                billing | arrear | overdue | in good standing | payment required | payment_required | spending limit | \
                spend limit | quota exhausted | has been exhausted | quota exceeded for the month | allocationquota | \
                per-day | per day | daily limit | 余额 | 欠费",
    },
    Class {
        kind: ErrorKind::RefusedKey,
        statuses: &[200, 400, 403],
        words: "api key | api_key | apikey | api-key | incorrect key | invalid key | key has been | credential | \
                authentication | unauthenticated | unauthorized | access token | invalid token | authorization header",
    },
    Class {
        kind: ErrorKind::RateLimited,
        statuses: &[200, 403, 503],
        words: "rate limit | rate_limit | ratelimit | too many requests | too_many_requests | throttl | resource_exhausted",
    },
    // counts only beside words of the two lists below
    Class {
        kind: ErrorKind::ModelNotFound,
        statuses: &[200, 400, 403, 404, 422],
        words: "model | deployment | no endpoints found",
    },
];

/// Words of a sentence about a model that is not there.
const MISSING: &str = "model_not_found | modelnotfound | model_not_exist | invalid_model | deploymentnotfound | \
    unknown_model | model_not_supported | not_found_error | not found | not exist | no such model | unknown model | \
    invalid model | not a valid model | unsupported model | is not available | no endpoints found | have access | \
    is not supported | not supported for";

/// Words of a sentence about a model that is there and lacks something.
const FEATURES: &str = "parameter | tool | value | field | role | temperature | stream | reasoning";

impl ErrorKind {
    /// The kind of an error. `status` is that of the answer, or the one that its body names; `words` are its message and its
    /// codes in lower case; `has_wait` says whether it tells when to come back.
    pub(crate) fn of(status: Option<u16>, words: &str, has_wait: bool) -> Self {
        let says = |list: &str| list.split(" | ").any(|word| words.contains(word));
        let known =
            CLASSES.iter().find(|class| class.statuses.contains(&status.unwrap_or(200)) && says(class.words));
        match known.map(|class| class.kind) {
            // Google says "quota" of limits per minute too, and then when to come back
            Some(Self::Quota) if status == Some(429) && has_wait => Self::RateLimited,
            Some(Self::ModelNotFound) if !says(MISSING) || says(FEATURES) => Self::by_status(status, words),
            Some(kind) => kind,
            None => Self::by_status(status, words),
        }
    }

    fn by_status(status: Option<u16>, words: &str) -> Self {
        let says = |list: &str| list.split(" | ").any(|word| words.contains(word));
        match status {
            Some(401) => Self::RefusedKey,
            Some(402) => Self::Quota,
            Some(413) => Self::ContextTooLong,
            Some(429) => Self::RateLimited,
            Some(300..=399 | 404 | 405) => Self::BadUrl,
            Some(400) if says("http request to an https") => Self::BadUrl,
            None if says(
                "invalid_request | bad request | badrequest | invalid argument | invalid_argument",
            ) =>
            {
                Self::Refused
            }
            None | Some(408 | 409 | 425 | 500 | 502..=504 | 506..) => Self::Unavailable,
            Some(_) => Self::Refused,
        }
    }

    /// Its code in an answer of the proxy.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Unavailable => "provider_unavailable",
            Self::RateLimited => "provider_rate_limited",
            Self::Quota => "provider_quota",
            Self::RefusedKey => "provider_refused_key",
            Self::Moderation => "provider_moderation",
            Self::Region => "provider_region",
            Self::ModelNotFound => "model_not_found",
            Self::ContextTooLong => "context_length_exceeded",
            Self::BadUrl => "provider_bad_url",
            Self::Refused => "provider_refused",
        }
    }

    /// Whether the same request may succeed later.
    pub(crate) fn is_passing(self) -> bool {
        match self {
            Self::Unavailable | Self::RateLimited => true,
            Self::Quota
            | Self::RefusedKey
            | Self::Moderation
            | Self::Region
            | Self::ModelNotFound
            | Self::ContextTooLong
            | Self::BadUrl
            | Self::Refused => false,
        }
    }

    /// What can be done, and who can do it.
    pub(crate) fn hint(self) -> Option<&'static str> {
        match self {
            Self::Unavailable | Self::RateLimited | Self::ContextTooLong | Self::Refused => None,
            Self::Quota => Some("the operator can add money or quota at the provider"),
            Self::RefusedKey => Some("the operator can set another key: llm.api_key_file or OPENAI_API_KEY"),
            Self::Moderation => Some("reword the request, or use another provider"),
            Self::Region => Some("the operator can use a provider that serves this region: llm.base_url"),
            Self::ModelNotFound => Some(
                "the operator can name another model: agents.default_model, or agents.roles.<name>.model",
            ),
            Self::BadUrl => Some(
                "the operator can correct llm.base_url; it usually ends in /v1, without /chat/completions",
            ),
        }
    }
}

#[cfg(test)]
#[path = "error_kind_tests.rs"]
mod tests;
