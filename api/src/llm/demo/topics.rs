//! The vocabulary of common subjects: data, and how one is found.

use super::page::Kind;
use super::tone::has_word;

/// What can be said of a common subject.
#[derive(Debug, PartialEq)]
pub(super) struct Topic {
    /// Words that point to it, in lower case.
    pub(super) words: &'static [&'static str],
    pub(super) kind: Kind,
    pub(super) emoji: &'static str,
    pub(super) hue: u16,
    pub(super) name: &'static str,
    pub(super) headline: &'static str,
    pub(super) tagline: &'static str,
    pub(super) action: &'static str,
    /// Title, and cards of title, text and note.
    pub(super) features: Cards,
    pub(super) offers: Cards,
    /// Title and text.
    pub(super) about: (&'static str, &'static str),
}

type Cards = (&'static str, &'static [(&'static str, &'static str, &'static str)]);

/// The topic of a prompt in lower case: the first of the list below that it names.
pub(super) fn of(lower: &str) -> Option<&'static Topic> {
    let says = |word: &&str| if word.is_ascii() { has_word(lower, word) } else { lower.contains(*word) };
    TOPICS.iter().find(|topic| topic.words.iter().any(says))
}

/// Layouts with a working of their own come first, then subjects, then kinds of site that may be about any subject.
static TOPICS: [Topic; 12] = [
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
    Topic {
        words: &[
            "bakery",
            "bakeries",
            "bread",
            "pastry",
            "patisserie",
            "cake shop",
            "面包",
            "烘焙",
            "蛋糕",
            "糕点",
        ],
        kind: Kind::Site,
        emoji: "🥐",
        hue: 60,
        name: "Golden Crust Bakery",
        headline: "Bread worth getting up for",
        tagline: "Slow sourdough, butter croissants and cakes, baked through the night and on the counter at seven.",
        action: "Order for tomorrow",
        features: (
            "Why it tastes like this",
            &[
                ("Baked every night", "Nothing on the shelf is older than this morning.", ""),
                (
                    "Time, not tricks",
                    "Our sourdough rests for twenty-four hours before it meets the oven.",
                    "",
                ),
                ("Flour from nearby", "Three farms, one mill, and names we know.", ""),
            ],
        ),
        offers: (
            "Fresh today",
            &[
                ("Country sourdough", "Dark crust, open crumb, keeps for days.", "6.50"),
                ("Butter croissant", "Twenty-seven layers, and you can count them.", "2.80"),
                ("Cinnamon knot", "Warm from the oven at ten.", "3.20"),
                ("Lemon cake", "By the slice, or whole if you ask a day ahead.", "4.40"),
            ],
        ),
        about: (
            "Our bakery",
            "A small bakery with a large oven. We bake what we would like to eat, sell it the same day, and give what is left to the kitchen next door.",
        ),
    },
    Topic {
        words: &["coffee", "cafe", "café", "espresso", "coffeehouse", "roastery", "咖啡"],
        kind: Kind::Site,
        emoji: "☕",
        hue: 50,
        name: "Slow Morning Coffee",
        headline: "Good coffee, no hurry",
        tagline: "Single-origin beans, roasted in the back room and poured by people who care.",
        action: "Find a table",
        features: (
            "What we care about",
            &[
                ("Roasted here", "Small batches on Tuesdays and Fridays. The whole street smells of it.", ""),
                ("Fair and direct", "We know the growers and publish what we pay them.", ""),
                ("A place to stay", "Quiet corners, long tables, and nobody counts your refills.", ""),
            ],
        ),
        offers: (
            "Menu",
            &[
                ("Espresso", "Chocolate, cherry, a short goodbye.", "2.60"),
                ("Flat white", "Silky, double, in a proper cup.", "3.90"),
                ("Filter of the week", "Ask what is on; it changes on Mondays.", "4.20"),
                ("Banana bread", "Toasted, with salted butter.", "3.60"),
            ],
        ),
        about: (
            "Our house",
            "We opened with one machine and four chairs. There are more chairs now; the machine is the same.",
        ),
    },
    Topic {
        words: &[
            "restaurant",
            "bistro",
            "diner",
            "pizzeria",
            "trattoria",
            "sushi",
            "food truck",
            "餐厅",
            "餐馆",
            "饭店",
            "火锅",
        ],
        kind: Kind::Site,
        emoji: "🍽️",
        hue: 25,
        name: "The Long Table",
        headline: "Dinner, and time to enjoy it",
        tagline: "A short menu that follows the seasons, cooked over fire and shared at long tables.",
        action: "Reserve a table",
        features: (
            "At the table",
            &[
                ("Seasonal kitchen", "When asparagus is over, it is over. Something better follows.", ""),
                ("Open fire", "Bread, fish and vegetables over embers of oak.", ""),
                ("Wines with a story", "Forty bottles from growers we have visited.", ""),
            ],
        ),
        offers: (
            "On the menu",
            &[
                ("Charred leeks", "Hazelnut, brown butter, herbs.", "11"),
                ("Handmade tagliatelle", "Mushrooms from the woods, old cheese.", "18"),
                ("Whole grilled trout", "Lemon, fennel, new potatoes.", "24"),
                ("Plum tart", "With cream, and a second fork.", "9"),
            ],
        ),
        about: (
            "Our kitchen",
            "Six cooks, one fire, and a table that has room for you. Tell us what you cannot eat, and we will cook something better.",
        ),
    },
    Topic {
        words: &["gym", "fitness", "crossfit", "yoga", "personal trainer", "workout", "健身", "瑜伽"],
        kind: Kind::Site,
        emoji: "🏋️",
        hue: 145,
        name: "Iron & Ease",
        headline: "Stronger than last week",
        tagline: "Small groups, patient coaches and a plan that fits around your life.",
        action: "Book a free session",
        features: (
            "How we train",
            &[
                ("Groups of eight", "A coach sees every lift, and knows your name.", ""),
                ("A plan for you", "We measure, plan, and adjust every four weeks.", ""),
                ("Open early and late", "From six to ten, seven days a week.", ""),
            ],
        ),
        offers: (
            "Membership",
            &[
                ("Ten visits", "For the curious. Valid for a year.", "90"),
                ("Monthly", "Every class, every machine; stop when you like.", "49 / month"),
                ("With a coach", "Two hours of your own every month.", "119 / month"),
            ],
        ),
        about: (
            "Our gym",
            "No mirrors on the ceiling, no shouting. People of all ages who like to feel what they can do.",
        ),
    },
    Topic {
        words: &["photographer", "photography", "photo studio", "摄影"],
        kind: Kind::Site,
        emoji: "📷",
        hue: 280,
        name: "North Light Photography",
        headline: "Pictures that stay true",
        tagline: "Weddings, portraits and places, in natural light and without stiff smiles.",
        action: "Ask for a date",
        features: (
            "How I work",
            &[
                ("Natural light", "I plan around the sun, so that nobody has to squint.", ""),
                ("Calm days", "I prepare a lot, so that on the day there is time to look.", ""),
                ("Yours to keep", "Full resolution, a private gallery, prints on cotton paper.", ""),
            ],
        ),
        offers: (
            "Portfolio",
            &[
                ("Weddings", "From the first coffee to the last dance.", "Series of 400"),
                ("Portraits", "An hour, a walk, a few honest frames.", "Series of 20"),
                ("Architecture", "Lines, and the light that moves along them.", "On commission"),
            ],
        ),
        about: (
            "About me",
            "I have carried a camera for fifteen years and still miss the bus for a good shadow.",
        ),
    },
    Topic {
        words: &[
            "hotel",
            "hostel",
            "guest house",
            "guesthouse",
            "bed and breakfast",
            "resort",
            "酒店",
            "民宿",
            "旅馆",
        ],
        kind: Kind::Site,
        emoji: "🛎️",
        hue: 220,
        name: "Harbour House Hotel",
        headline: "Sleep where the day slows down",
        tagline: "Twenty-two rooms by the water, breakfast until noon, and a key that is still a key.",
        action: "Check dates",
        features: (
            "While you are here",
            &[
                ("Breakfast until noon", "Eggs as you like them, bread from across the street.", ""),
                ("By the water", "Every room sees the harbour, or the garden behind it.", ""),
                ("Easy to reach", "Eight minutes on foot from the station.", ""),
            ],
        ),
        offers: (
            "Rooms",
            &[
                ("Garden room", "Quiet, with doors to the courtyard.", "from 95"),
                ("Harbour room", "A window seat and ships to watch.", "from 130"),
                ("The attic", "Two floors, a bath under the roof.", "from 190"),
            ],
        ),
        about: (
            "Our house",
            "Built as a warehouse, kept by a family. We will tell you where we eat ourselves.",
        ),
    },
    Topic {
        words: &[
            "store",
            "online shop",
            "e-commerce",
            "ecommerce",
            "webshop",
            "merch",
            "商店",
            "商城",
            "电商",
            "网店",
        ],
        kind: Kind::Site,
        emoji: "🛍️",
        hue: 330,
        name: "Common Goods",
        headline: "Few things, well made",
        tagline: "Everyday objects that last, sent in paper and easy to return.",
        action: "Ask about an order",
        features: (
            "Good to know",
            &[
                ("Made to last", "Every piece can be repaired, and we stock the parts.", ""),
                ("Sent tomorrow", "Ordered by noon, on its way the next day.", ""),
                ("Thirty days", "Not right? Send it back. We do not ask why.", ""),
            ],
        ),
        offers: (
            "New in",
            &[
                ("Canvas tote", "Heavy cotton, two pockets, one for keys.", "38"),
                ("Enamel mug", "Survives camping and dishwashers.", "14"),
                ("Wool blanket", "Woven in one piece, warm at once.", "120"),
                ("Desk lamp", "One switch, three joints, ten years.", "85"),
            ],
        ),
        about: ("Our shop", "We sell what we use ourselves, and stop selling what we stop using."),
    },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_finds_its_topic_in_either_language() {
        for (prompt, name) in [
            ("build a landing page for a bakery", "Golden Crust Bakery"),
            ("a coffee shop", "Slow Morning Coffee"),
            ("a dashboard for my gym", "Overview"),
            ("帮我做一个咖啡馆的网站", "Slow Morning Coffee"),
            ("a blog about hotels", "Harbour House Hotel"),
        ] {
            assert_eq!(of(prompt).map(|topic| topic.name), Some(name), "{prompt}");
        }
        assert_eq!(of("a page about restoring clocks"), None);
    }

    #[test]
    fn every_topic_fills_a_page() {
        for topic in &TOPICS {
            assert!(topic.features.1.len() >= 2 && topic.offers.1.len() >= 3, "{}", topic.name);
            let mut titles: Vec<_> = topic.offers.1.iter().map(|card| card.0).collect();
            titles.sort_unstable();
            titles.dedup();
            assert_eq!(titles.len(), topic.offers.1.len(), "cards are told apart by title");
            if topic.kind == Kind::Dashboard {
                assert!(topic.offers.1.iter().all(|card| card.2.parse::<u32>().is_ok()));
            }
        }
    }
}
