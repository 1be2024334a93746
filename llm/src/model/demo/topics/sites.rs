//! Topics: kinds of site that may be about any subject.

use super::super::page::Kind;
use super::Topic;

pub(super) static TOPICS: &[Topic] = &[
    Topic {
        words: &["blog", "magazine", "newsletter", "journal", "博客", "杂志"],
        kind: Kind::Site,
        emoji: "✍️",
        hue: 75,
        name: "Marginalia",
        headline: "Notes worth keeping",
        tagline: "Short essays on making things, written slowly and published on Sundays.",
        action: "Write to me",
        features: (
            "What it is about",
            &[
                ("Making", "How things come to be, and what was thrown away on the way.", ""),
                ("Reading", "Books that changed a habit.", ""),
                ("Walking", "Most of the writing happens there.", ""),
            ],
        ),
        offers: (
            "Latest posts",
            &[
                ("The second draft is the first", "Why I stopped polishing openings.", "5 min"),
                ("A tool you can sharpen", "On choosing what you can repair.", "7 min"),
                ("Leaving things out", "A list of what this page does not have.", "4 min"),
            ],
        ),
        about: ("About the author", "Somebody who writes to find out what they think."),
    },
    Topic {
        words: &[
            "portfolio",
            "resume",
            "résumé",
            "personal site",
            "personal website",
            "作品集",
            "简历",
            "个人网站",
        ],
        kind: Kind::Site,
        emoji: "🧩",
        hue: 265,
        name: "Alex Morgan",
        headline: "I design and build useful things",
        tagline: "Product designer and developer. I like hard questions and simple screens.",
        action: "Get in touch",
        features: (
            "What I do",
            &[
                ("Design", "From the first sketch to the last state of a button.", ""),
                ("Development", "Accessible, fast, and readable by whoever comes next.", ""),
                ("Research", "I ask five people before I believe myself.", ""),
            ],
        ),
        offers: (
            "Selected work",
            &[
                ("Ferry tickets", "A timetable that tells you when to run.", "Product, 2024"),
                ("Clinic intake", "Forty questions became eleven.", "Service, 2023"),
                ("Field notes", "An app that works where there is no signal.", "Mobile, 2022"),
            ],
        ),
        about: ("About me", "Ten years of shipping, teaching and deleting code."),
    },
    Topic {
        words: &["startup", "saas", "software company", "ai product", "创业", "初创"],
        kind: Kind::Site,
        emoji: "🚀",
        hue: 275,
        name: "Northstar",
        headline: "Less busywork, more progress",
        tagline: "One place where your team plans, decides and sees what changed.",
        action: "Start free",
        features: (
            "Why teams switch",
            &[
                ("Ready in minutes", "Import what you have, and invite who you need.", ""),
                ("Clear by default", "Every decision has an owner, a date and a reason.", ""),
                ("Yours", "Export everything at any time, in formats others read.", ""),
            ],
        ),
        offers: (
            "Pricing",
            &[
                ("Starter", "For up to five people.", "Free"),
                ("Team", "Unlimited projects and guests.", "9 / person"),
                ("Company", "Single sign-on, audit log, a person to call.", "Ask us"),
            ],
        ),
        about: (
            "Our company",
            "We are a small team that got tired of status meetings, and built what replaced them.",
        ),
    },
];
