//! The texts of a page: a pure function of the prompt.

use super::colours::hash;
use super::page::{Card, Kind, Labels, Page, Section};
use super::prompt::PageRequest;
use super::topics::Topic;

/// The page that a prompt asks for.
pub(super) fn page(request: &PageRequest) -> Page {
    let mut page = match (request.chinese, request.topic) {
        (true, topic) => chinese(request, topic),
        (false, Some(topic)) => of_topic(topic),
        (false, None) => english(request),
    };
    page.hue = hue(request, request.topic);
    scheme(request.colours.dark).clone_into(&mut page.scheme);
    page.request.clone_from(&request.prompt);
    page.wishes = wishes(request);
    if let Some(name) = &request.name {
        page.name.clone_from(name);
    }
    if let Some(quoted) = &request.quoted {
        page.headline.clone_from(quoted);
    }
    page
}

/// The page after the change that a prompt asks for, and a description of the change; `None` if the rules do not
/// find what to change.
pub(super) fn changed(page: &Page, request: &PageRequest) -> Option<(Page, String)> {
    let mut new = page.clone();
    let mut done = Vec::new();
    let lower = request.prompt.to_lowercase();
    let mentions = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if let Some(text) = &request.quoted {
        let (field, what) = if mentions(&["tagline", "subtitle", "slogan", "标语", "副标题"]) {
            (&mut new.tagline, "tagline")
        } else if mentions(&["button", "call to action", "按钮"]) {
            (&mut new.action, "button")
        } else if mentions(&["name", "brand", "名称", "名字"]) {
            (&mut new.name, "name")
        } else {
            (&mut new.headline, "headline")
        };
        text.clone_into(field);
        done.push(format!("the {what} now reads “{text}”"));
    }
    if let Some(hue) = request.colours.hue {
        new.hue = hue;
        done.push("the colours follow the one you named".to_owned());
    }
    if let Some(dark) = request.colours.dark {
        scheme(Some(dark)).clone_into(&mut new.scheme);
        done.push(format!("the page is {}", if dark { "dark" } else { "light" }));
    }
    new.request.clone_from(&request.prompt);
    (!done.is_empty()).then(|| (new, done.join(", ")))
}

/// The hue that the prompt names, or one near that of the topic, or any: the same for the same prompt.
fn hue(request: &PageRequest, topic: Option<&Topic>) -> u16 {
    let any = hash(&request.prompt);
    let near = |hue: u16, spread: u32| {
        u16::try_from((u32::from(hue) + 360 + any % (2 * spread) - spread) % 360).unwrap_or(hue)
    };
    request.colours.hue.unwrap_or_else(|| topic.map_or_else(|| near(180, 180), |topic| near(topic.hue, 12)))
}

/// The CSS `color-scheme`.
fn scheme(dark: Option<bool>) -> &'static str {
    match dark {
        None => "light dark",
        Some(true) => "dark",
        Some(false) => "light",
    }
}

fn of_topic(topic: &Topic) -> Page {
    let section = |(title, cards): (&str, &[(&str, &str, &str)])| Section {
        title: title.to_owned(),
        cards: cards.iter().map(|(title, text, note)| card(title, text, note)).collect(),
    };
    Page {
        lang: "en".to_owned(),
        kind: topic.kind,
        name: topic.name.to_owned(),
        emoji: topic.emoji.to_owned(),
        headline: topic.headline.to_owned(),
        tagline: topic.tagline.to_owned(),
        action: topic.action.to_owned(),
        features: section(topic.features),
        offers: section(topic.offers),
        wishes: Section::default(),
        about: card(topic.about.0, topic.about.1, ""),
        labels: english_labels(),
        request: String::new(),
        hue: topic.hue,
        scheme: String::new(),
    }
}

fn english(request: &PageRequest) -> Page {
    let subject = if request.subject.is_empty() { "your idea" } else { request.subject.as_str() };
    let name = capitals(subject);
    Page {
        lang: "en".to_owned(),
        kind: Kind::Site,
        emoji: "✨".to_owned(),
        headline: format!("{name}, made simple"),
        tagline: format!(
            "Everything about {subject} in one friendly place: clear, quick and made with care."
        ),
        action: "Get in touch".to_owned(),
        features: Section {
            title: "Why people stay".to_owned(),
            cards: vec![
                card("Made with care", &format!("Every detail of {subject} has been thought through."), ""),
                card("Easy from the start", "No manual and no waiting: you see at once what to do.", ""),
                card("People who answer", "Questions reach somebody who knows, within a day.", ""),
            ],
        },
        offers: Section {
            title: "What you will find".to_owned(),
            cards: vec![
                card("First steps", &format!("A short introduction to {subject}."), "Start here"),
                card("The whole picture", "What there is, what it is for, and what comes next.", "Overview"),
                card("Help", "Answers to what people ask most.", "Questions"),
            ],
        },
        wishes: Section::default(),
        about: card(
            "About",
            &format!("This page began with a sentence about {subject}. The rest is yours to write."),
            "",
        ),
        labels: english_labels(),
        name,
        request: String::new(),
        hue: 0,
        scheme: String::new(),
    }
}

fn chinese(request: &PageRequest, topic: Option<&'static Topic>) -> Page {
    let subject = if request.subject.is_empty() { "新项目" } else { request.subject.as_str() };
    let kind = topic.map_or(Kind::Site, |topic| topic.kind);
    let english = topic.map(of_topic);
    let figures = |section: fn(&Page) -> &Section| english.as_ref().map(section).cloned().unwrap_or_default();
    let (features, offers) = match kind {
        Kind::Dashboard => {
            let mut features = figures(|page| &page.features);
            let mut offers = figures(|page| &page.offers);
            "关键指标".clone_into(&mut features.title);
            "每月收入（千）".clone_into(&mut offers.title);
            for (card, (title, text)) in features.cards.iter_mut().zip([
                ("收入", "比上月增长 8 %"),
                ("活跃用户", "其中新用户 312"),
                ("转化率", "连续六周稳定"),
                ("待处理工单", "比昨天少 4 个"),
            ]) {
                *card = self::card(title, text, &card.note);
            }
            for (month, card) in offers.cards.iter_mut().enumerate() {
                *card = self::card(&format!("{} 月", month + 1), "示例数据", &card.note);
            }
            (features, offers)
        }
        Kind::Todo | Kind::Site => (
            Section {
                title: "为什么选择我们".to_owned(),
                cards: vec![
                    card("用心制作", &format!("关于{subject}的每个细节都经过考虑。"), ""),
                    card("一看就懂", "打开就能用，不需要说明书。", ""),
                    card("有问必答", "一天之内，会有懂行的人回复您。", ""),
                ],
            },
            Section {
                title: if kind == Kind::Todo { "任务" } else { "您可以找到" }.to_owned(),
                cards: vec![
                    card("从这里开始", &format!("{subject}的简短介绍。"), "入门"),
                    card("全部内容", "有什么，有什么用，接下来是什么。", "概览"),
                    card("帮助", "大家最常问的问题。", "问答"),
                ],
            },
        ),
    };
    Page {
        lang: "zh".to_owned(),
        kind,
        name: subject.to_owned(),
        emoji: topic.map_or("✨", |topic| topic.emoji).to_owned(),
        headline: format!("欢迎来到{subject}"),
        tagline: format!("关于{subject}的一切，清晰、快捷、用心。"),
        action: "联系我们".to_owned(),
        features,
        offers,
        wishes: Section::default(),
        about: card("关于我们", &format!("这个页面从一句关于{subject}的话开始，其余的由您来写。"), ""),
        labels: chinese_labels(),
        request: String::new(),
        hue: 0,
        scheme: String::new(),
    }
}

/// A card for each wish, whose text says that it is a placeholder.
fn wishes(request: &PageRequest) -> Section {
    let title = if request.chinese { "您要的内容" } else { "As you asked" };
    let mut cards: Vec<Card> = Vec::new();
    for name in &request.wishes {
        let text = if request.chinese {
            format!("这里是“{name}”的位置，请换成您的内容。")
        } else {
            format!("A place for {name}: put your own words here.")
        };
        if cards.iter().all(|card| card.title != capital(name)) {
            cards.push(card(&capital(name), &text, ""));
        }
    }
    Section { title: title.to_owned(), cards }
}

fn card(title: &str, text: &str, note: &str) -> Card {
    Card { title: title.to_owned(), text: text.to_owned(), note: note.to_owned() }
}

fn capitals(text: &str) -> String {
    text.split(' ').map(capital).collect::<Vec<_>>().join(" ")
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn english_labels() -> Labels {
    labels([
        "Skip to content",
        "Sections",
        "See more",
        "Write to us. We read everything, and answer most of it.",
        "Made for the request",
        "Add",
        "New task",
        "Remove",
        "Tasks left",
        "All",
        "Open",
        "Done",
        "Sample data",
    ])
}

fn chinese_labels() -> Labels {
    labels([
        "跳到正文",
        "栏目",
        "了解更多",
        "给我们写信，每一封都会看。",
        "根据这个请求制作",
        "添加",
        "新任务",
        "删除",
        "未完成",
        "全部",
        "进行中",
        "已完成",
        "示例数据",
    ])
}

fn labels(words: [&str; 13]) -> Labels {
    let [skip, nav, more, contact, request, add, task, remove, left, all, open, done, sample] =
        words.map(str::to_owned);
    Labels { skip, nav, more, contact, request, add, task, remove, left, all, open, done, sample }
}
