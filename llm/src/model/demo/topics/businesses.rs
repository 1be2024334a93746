//! Topics: businesses that sell goods or services.

use super::super::page::Kind;
use super::Topic;

pub(super) static TOPICS: &[Topic] = &[
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
];
