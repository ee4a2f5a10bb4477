"""The words that simulated people use, by language, and those of the people who abuse.

A sentence is an opening, a subject, a predicate and an ending, joined as they are: pieces carry
their own spaces, so that languages without them work too.
"""

from __future__ import annotations

# Per language: openings, subjects, predicates. English twice, so that it is drawn more often.
SENTENCES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "en": (
        ("", "", "", "hey ", "ok so ", "wait, ", "btw ", "I think ", "haha ", "good morning, ",
         "not sure but ", "guys, ", "sorry, ", "honestly ", "anyone else? ", "just saw: ",
         "do you have five minutes, ", "can you do me a favour, "),
        ("the raid", "that match", "my cat", "the new patch", "the server", "our build",
         "the second half", "dinner", "level 12", "this song", "the stream", "the bus",
         "that boss fight", "my sister", "the weather", "the meeting", "the free trial",
         "your account page", "the prize ceremony", "my wallet app", "the new season",
         "the gift shop", "the other team", "the exam", "my keyboard", "the update",
         "that click on the blue button", "the guild", "the verification mail", "the last episode"),
        (" starts at nine", " was wild", " is on the keyboard again", " broke everything",
         " is down for me", " is green again", " was better", " took forever", " is too hard",
         " is stuck in my head", " is live now", " is late", " is done, who is in",
         " says hi", " is great today", " moved to tomorrow", " ends on sunday",
         " looks different now", " was funny", " needs a rest", " is worth the money",
         " closes early", " won this one", " went fine", " is broken, help",
         " finally landed", " works if you restart", " meets at eight", " never arrived",
         " made me cry"),
    ),
    "es": (
        ("", "", "hola ", "oye ", "jaja ", "buenos días, ", "creo que "),
        ("el partido", "la partida", "mi gato", "el servidor", "la cena", "el examen", "la canción",
         "el parche nuevo", "mi hermana", "el directo"),
        (" empieza a las nueve", " fue increíble", " no funciona", " está listo", " llega tarde",
         " se acabó", " estuvo genial", " es mañana", " me encanta", " ya salió"),
    ),
    "fr": (
        ("", "", "salut ", "dis donc, ", "mdr ", "bonjour, ", "je crois que "),
        ("le match", "la partie", "mon chat", "le serveur", "le dîner", "l'examen", "la chanson",
         "la mise à jour", "ma sœur", "le direct"),
        (" commence à neuf heures", " était fou", " ne marche pas", " est prêt", " est en retard",
         " est fini", " était super", " est demain", " me plaît", " vient de sortir"),
    ),
    "de": (
        ("", "", "hey ", "also ", "haha ", "guten Morgen, ", "ich glaube "),
        ("das Spiel", "die Runde", "meine Katze", "der Server", "das Essen", "die Prüfung",
         "das Lied", "das Update", "meine Schwester", "der Stream"),
        (" fängt um neun an", " war knapp", " geht nicht", " ist fertig", " kommt zu spät",
         " ist vorbei", " war super", " ist morgen", " gefällt mir", " ist da"),
    ),
    "ru": (
        ("", "", "привет, ", "слушай, ", "ржу, ", "доброе утро, ", "кажется, "),
        ("матч", "рейд", "мой кот", "сервер", "ужин", "экзамен", "новый патч", "стрим"),
        (" начнётся в девять", " был огонь", " не работает", " готов", " опаздывает",
         " закончился", " завтра", " уже вышел"),
    ),
    "ja": (
        ("", "", "ねえ、", "おはよう、", "たぶん", "え、"),
        ("試合", "レイド", "うちの猫", "サーバー", "晩ごはん", "テスト", "新しいパッチ", "配信"),
        ("は九時から", "すごかった", "が落ちてる", "できた", "が遅れてる", "終わった", "は明日",
         "最高"),
    ),
    "ar": (
        ("", "", "مرحبا، ", "يا جماعة، ", "صباح الخير، "),
        ("المباراة", "القطة", "الخادم", "العشاء", "الامتحان", "التحديث", "البث"),
        (" تبدأ في التاسعة", " رائعة", " لا يعمل", " جاهز", " تأخر", " انتهى", " غدا"),
    ),
    "hi": (
        ("", "", "अरे ", "नमस्ते ", "सुनो, "),
        ("मैच", "मेरी बिल्ली", "सर्वर", "खाना", "परीक्षा", "नया अपडेट", "गाना"),
        (" नौ बजे है", " मज़ेदार था", " बंद है", " तैयार है", " देर से आएगा", " खत्म हुआ", " कल है"),
    ),
}  # fmt: skip
LANGUAGE_SHARES = (0.68, 0.09, 0.06, 0.05, 0.05, 0.03, 0.02, 0.02)

ENDINGS = ("", "", "", "", "", "", "!", "!!", " 😂", " 🙏", " ok?", " brb", " :)", " pls", " 🔥",
           "...", " 👀", " ❤️", "?", " lol")  # fmt: skip
# Most said first: drawn with Zipf's weights.
SHORT = ("lol", "ok", "😂", "yes", "gm", "no", "thanks", "+1", "same", "haha", "gg", "brb", "wtf",
         "👍", "?", "nice", "omw", "hola", "да", "はい", "GOAL!!!", "let's go", "🔥🔥🔥", "rip",
         "merci", "danke", "نعم", "हाँ", "what", "true", "w", "idk", "sure", "np", "hm", "oof",
         "love it", "see you", "good night", "who?")  # fmt: skip

POPULAR_DOMAINS = (
    "youtube.com", "github.com", "en.wikipedia.org", "bbc.co.uk", "nytimes.com", "imgur.com",
    "twitch.tv", "reddit.com", "store.steampowered.com", "docs.google.com", "tenor.com",
)  # fmt: skip
NAMES = ("nova", "pixel", "otter", "luna", "brick", "storm", "mango", "echo", "pine", "koi",
         "ember", "frost", "cobalt", "lark", "tide", "quartz")  # fmt: skip
TRADES = ("art", "music", "games", "shop", "blog", "studio", "cast", "books", "photo", "code",
          "market", "deals")  # fmt: skip
HONEST_ENDINGS = ("com", "net", "org", "io", "de", "co.uk", "fr", "xyz", "shop")
PROMOS = (
    "new video is up, tell me what you think", "live in ten minutes, come by",
    "my shop has new prints, ten percent off today", "free workshop on sunday, sign up",
    "we are looking for players, apply", "giveaway for subscribers ends tonight",
)  # fmt: skip
BOTS = ("build {} passed", "build {} failed: see the log", "{} new members today, welcome!",
        "reminder: event starts in {} minutes", "deploy {} finished",
        "poll {} closed, thanks for voting")  # fmt: skip

# Each campaign combines one of each; later seasons of it take others and hide them better.
LURE_OPENINGS = ("claim your", "you won a", "last chance for the", "get your", "everyone gets a",
                 "grab this", "today only:", "verify now to keep your", "unlock the",
                 "limited")  # fmt: skip
LURE_THINGS = ("free gift", "nitro giveaway", "crypto bonus", "skin pack", "gift card",
               "premium upgrade", "follower boost", "prize", "guaranteed profit",
               "account reward")  # fmt: skip
SHADY_VERBS = ("free", "win", "get", "go", "claim", "fast", "my", "top")
SHADY_THINGS = ("gift", "prize", "deal", "coin", "skin", "nitro", "bonus", "trade", "boost")
SHADY_ENDINGS = ("xyz", "top", "club", "com", "info", "shop", "io")
TAKEOVER_LURES = ("omg is this you in this video", "vote for me please", "try the game I made",
                  "look what they wrote about you", "I found your old photo")  # fmt: skip
SCAMS = ("hi dear, I saw your profile and", "hello, are you the one who sells",
         "sorry wrong number, but", "I work with a team that trades and",
         "can you do me a favour and", "message me privately,", "my uncle retired early because",
         "do you have five minutes,")  # fmt: skip
SCAM_TURNS = ("you seem kind", "I can show you how", "it changed my life", "only trust is needed",
              "my tutor helps beginners", "just a small fee first", "add me on the other app",
              "we can talk there")  # fmt: skip
INSULTS = ("you are trash", "nobody likes you", "uninstall", "go away loser", "shut up",
           "pathetic", "everybody laughs at you", "quit already", "worst player ever",
           "du bist peinlich", "eres basura", "ты никто")  # fmt: skip
FLOODS = ("join join join", "aaaaaaaa", "W W W W W", "raid this channel", "👻👻👻👻",
          "read my profile", "spam spam spam", "первый", "HELLO HELLO")  # fmt: skip
