//! Topics: small programs.

use super::super::page::Kind;
use super::Topic;

pub(super) static TOPICS: &[Topic] = &[
    Topic {
        words: &[
            "todo",
            "to-do",
            "to do list",
            "task list",
            "task manager",
            "checklist",
            "待办",
            "任务清单",
            "任务管理",
        ],
        kind: Kind::Todo,
        emoji: "✅",
        hue: 160,
        name: "Today",
        headline: "What will you get done today?",
        tagline: "Write it down, tick it off, feel lighter.",
        action: "Add",
        features: (
            "What it does",
            &[
                ("Quick to add", "One field, one key: the list grows as fast as you think.", ""),
                ("Easy to filter", "See everything, what is open, or what is done.", ""),
            ],
        ),
        offers: (
            "Tasks",
            &[
                ("Open this list", "Done already.", ""),
                ("Plan the day", "Three things are plenty.", ""),
                ("Drink a glass of water", "It counts.", ""),
                ("Call somebody you miss", "Now is a good time.", ""),
            ],
        ),
        about: ("About", "A list that works in your browser and keeps out of your way."),
    },
    Topic {
        words: &["dashboard", "analytics", "admin panel", "metrics", "仪表盘", "仪表板", "数据看板", "看板"],
        kind: Kind::Dashboard,
        emoji: "📊",
        hue: 255,
        name: "Overview",
        headline: "The month at a glance",
        tagline: "What moved, what did not, and where to look next.",
        action: "Export",
        features: (
            "Key figures",
            &[
                ("Revenue", "8 % more than last month", "48.2k"),
                ("Active users", "312 came for the first time", "2,845"),
                ("Conversion", "Steady for six weeks", "3.9 %"),
                ("Open tickets", "4 fewer than yesterday", "17"),
            ],
        ),
        offers: (
            "Revenue by month, in thousands",
            &[
                ("Jan", "a quiet start", "31"),
                ("Feb", "the first campaign", "36"),
                ("Mar", "new prices", "34"),
                ("Apr", "two large customers", "41"),
                ("May", "steady", "44"),
                ("Jun", "the best month so far", "48"),
            ],
        ),
        about: ("About", "Figures that fit on one screen."),
    },
];
