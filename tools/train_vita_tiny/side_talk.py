"""Speech that is not addressed to the model: what people say to one another while it listens."""

import numpy as np

_WHO = (
    "I", "we", "they", "you", "my mother", "his sister", "the neighbours", "our teacher", "the children", "her boss",
    "Peter", "Anna", "the old man", "my friends", "the driver", "somebody", "nobody", "the girl next door", "grandpa",
)  # fmt: skip
_DID = (
    "bought a new car", "forgot the keys", "will come to dinner", "lost the ticket", "cooked some rice",
    "wanted to go home", "found a wallet", "broke the window", "must call the bank", "should wait for the bus",
    "went to the theatre", "has never been to Rome", "painted the kitchen", "wrote a long letter",
    "could hear the rain", "left the party", "sold the farm", "cannot find the glasses", "stayed in bed",
    "ran all the way", "missed the last train", "took the wrong road", "needs a holiday", "did not like the film",
    "dropped the plates", "is looking for a job", "played cards with us", "carried the box upstairs",
    "fell asleep on the sofa", "paid for the tickets", "washed the dishes", "heard a loud noise", "got up very late",
    "ate all the cake",
)  # fmt: skip
_WHEN = (
    "", "", "", "yesterday", "last night", "this afternoon", "before breakfast", "after the match", "on Monday",
    "again", "in the spring", "because it was cold", "with the others", "two years ago", "when you were away",
    "at the weekend", "and then went to bed", "but it was too late", "for the first time", "as usual",
    "without telling me",
)  # fmt: skip
_CHINESE_WHO = ("我", "我们", "他", "她", "他们", "妈妈", "老师", "小王", "邻居", "爷爷", "我朋友", "大家")
_CHINESE_WHEN = ("", "", "昨天", "今天早上", "下个星期", "晚上", "刚才", "周末", "去年", "已经", "明天")
_CHINESE_DID = (
    "买了一辆新车", "去了超市", "在家里睡觉", "要坐火车", "忘了带钥匙", "吃了一碗面", "给我打了电话", "想去游泳",
    "看了一场电影", "没有赶上车", "打扫了房间", "喝了两杯咖啡", "在公园跑步", "搬到了上海", "丢了钱包", "做了很多菜",
    "迟到了十分钟", "学会了开车", "修好了电脑", "带孩子去医院",
)  # fmt: skip


def english_remark(rng: np.random.Generator) -> str:
    """Draw an English sentence: one of those below, or one put together."""
    if rng.random() < 0.3:
        return ENGLISH[rng.integers(len(ENGLISH))]
    return " ".join(filter(None, (part[rng.integers(len(part))] for part in (_WHO, _DID, _WHEN))))


def chinese_remark(rng: np.random.Generator) -> str:
    """Draw a Chinese sentence: one of those below, or one put together."""
    if rng.random() < 0.3:
        return CHINESE[rng.integers(len(CHINESE))]
    return "".join(part[rng.integers(len(part))] for part in (_CHINESE_WHO, _CHINESE_WHEN, _CHINESE_DID))


REMARKS = {"en": english_remark, "zh": chinese_remark}

ENGLISH = (
    "we should leave before it rains",
    "did you remember to lock the back door",
    "my sister is coming over on Sunday",
    "the bus was late again this morning",
    "I think we are out of milk",
    "can you pass me the salt please",
    "he said he would call after lunch",
    "let us meet at the station at six",
    "the meeting has been moved to Thursday",
    "I left my keys on the kitchen table",
    "your brother plays the guitar very well",
    "they are building a new school down the road",
    "turn the music down, the baby is asleep",
    "I have not been to the dentist in two years",
    "the soup needs a little more pepper",
    "we watched that film last weekend",
    "she passed her driving test at last",
    "do not forget to feed the cat",
    "I will be home in about an hour",
    "the train to the city leaves at noon",
    "grandma makes the best apple pie",
    "I could not sleep because of the wind",
    "he works at the hospital now",
    "let me know when dinner is ready",
    "the neighbours are having a party tonight",
    "I need to buy new shoes for the winter",
    "have you read the newspaper today",
    "my phone is almost out of battery",
    "we planted tomatoes in the garden",
    "the doctor said I should rest",
    "shall we order pizza or cook something",
    "I forgot my umbrella at the office",
    "the kids are playing outside",
    "prices have gone up again this year",
    "wait for me, I am nearly ready",
    "our flight was delayed by three hours",
    "she is learning to play the piano",
    "the heating is broken in my flat",
    "thank you for the lovely flowers",
    "he never answers his messages",
    "I am going to bed early tonight",
    "the shop on the corner closes at eight",
    "we spent the whole summer by the sea",
    "tell your mother I said hello",
    "somebody is knocking at the door",
    "I have to finish this report by Friday",
    "the dog wants to go for a walk",
    "there was a lot of traffic on the bridge",
    "you really should drink more water",
    "they won the match by two goals",
    "I heard that Tom has a new job",
    "put your coat on, it is cold outside",
    "the washing machine is making a strange noise",
    "we have tickets for the concert tomorrow",
    "I would like a cup of tea",
    "his birthday is at the end of March",
    "the bread smells wonderful",
    "please close the window before you go",
    "I saw your teacher at the market",
    "maybe we can go swimming next week",
)

CHINESE = (
    "我们下雨之前走吧",
    "你吃过早饭了吗",
    "他昨天很晚才回家",
    "妈妈让你给她打电话",
    "明天早上八点开会",
    "我的手机快没电了",
    "周末我们去爬山吧",
    "这家饭馆的面条很好吃",
    "别忘了把门锁上",
    "弟弟在学校踢足球",
    "今天路上车真多",
    "我想喝一杯热茶",
    "她下个月要去北京",
    "孩子们都睡着了",
    "医生说要多休息",
)

HELD_OUT_ENGLISH = (
    "I parked the car behind the library",
    "we are going to visit my uncle next month",
    "the coffee machine needs cleaning",
    "she told me the whole story yesterday",
    "hurry up or we will miss the beginning",
    "my back hurts from carrying those boxes",
    "they moved to a bigger house in April",
    "the post has not arrived yet",
    "I promised to help him with his homework",
    "it snowed all night in the mountains",
)

HELD_OUT_CHINESE = (
    "爸爸在厨房做饭",
    "我把雨伞忘在公司了",
    "火车晚点了半个小时",
    "他们家的狗很可爱",
    "晚上一起看电影好吗",
)
