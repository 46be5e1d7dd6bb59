"""The ways to ask: several wordings of each intent, in English and in Chinese.

A wording that begins with ``HELD_OUT`` is never used in training.
"""

from collections.abc import Mapping
from functools import cache

from tools.train_vita_tiny import later_wordings, short_wordings

HELD_OUT = "~"

ENGLISH: Mapping[str, tuple[str, ...]] = {
    "describe": (
        "Describe this image.", "Describe this picture.", "Describe the image.", "What do you see?",
        "What is in this picture?", "What can you see here?", "Tell me what you see.",
        "Please describe what you see.",
        "Describe the scene.", "What does the picture show?", "What is shown in this image?",
        "Describe it in detail.",
        "Tell me about this picture.", "What is this?", "Describe this image in detail.",
        "~Please describe this image.", "~What do you see in this picture?", "~Tell me what is in the image.",
    ),
    "kinds": (
        "What shapes are there?", "Which shapes do you see?", "What shapes can you see?", "Name the shapes.",
        "List the shapes.", "Which shapes are in the picture?", "~What shapes are in this image?",
        "~List all shapes.",
    ),
    "colours": (
        "What colours are there?", "Which colours do you see?", "Name the colours.",
        "What colours do the shapes have?",
        "Which colours are in the picture?", "~What colours can you see?",
    ),
    "count": (
        "How many shapes are there?", "How many shapes do you see?", "Count the shapes.",
        "How many things are there?",
        "How many shapes are in the picture?", "How many objects are in this image?", "How many are there?",
        "~How many shapes can you see?", "~How many shapes are in this image?",
    ),
    "count_noun": (
        "How many {nouns} are there?", "How many {nouns} do you see?", "Count the {nouns}.",
        "What is the number of {nouns}?", "How many {nouns} are in the picture?", "~How many {nouns} can you see?",
    ),
    "colour_of": (
        "What colour is the {noun}?", "Which colour is the {noun}?", "What is the colour of the {noun}?",
        "Tell me the colour of the {noun}.", "Which colour does the {noun} have?", "The {noun} is what colour?",
        "~What colour does the {noun} have?", "~What is the {noun}'s colour?",
    ),
    "kind_of": (
        "What shape is {colour}?", "Which shape is {colour}?", "What is the {colour} shape?",
        "What is the {colour} thing?",
        "Which shape has the colour {colour}?", "What is {colour}?", "~Which thing is {colour}?",
    ),
    "where": (
        "Where is the {noun}?", "Where do you see the {noun}?", "In which place is the {noun}?",
        "Tell me where the {noun} is.", "Where can I find the {noun}?", "What is the position of the {noun}?",
        "~Where can you see the {noun}?", "~Find the {noun}.",
    ),
    "at": (
        "What is {place}?", "What do you see {place}?", "Which shape is {place}?", "Tell me what is {place}.",
        "What shape is {place}?", "What is there {place}?", "~What can you see {place}?",
    ),
    "is_there": (
        "Is there {a_noun}?", "Do you see {a_noun}?", "Can you see {a_noun}?", "Is there {a_noun} in the picture?",
        "Does the picture show {a_noun}?", "Is {a_noun} there?", "~Do you see {a_noun} here?",
        "~Is there {a_noun} in this image?",
    ),
    "bigger": (
        "Which is bigger, the {noun} or the {other}?", "What is bigger, the {noun} or the {other}?",
        "Which is larger, the {noun} or the {other}?", "Is the {noun} or the {other} bigger?",
        "Which one is bigger: the {noun} or the {other}?", "~Which one is larger, the {noun} or the {other}?",
    ),
    "size_of": (
        "How big is the {noun}?", "What size is the {noun}?", "What is the size of the {noun}?",
        "Is the {noun} small or large?", "~Which size does the {noun} have?",
    ),
    "biggest": (
        "Which shape is the biggest?", "What is the biggest shape?", "Which is the largest shape?",
        "Which one is the biggest?", "~What is the largest shape?",
    ),
    "smallest": (
        "Which shape is the smallest?", "What is the smallest shape?", "Which one is the smallest?",
        "~Which is the smallest shape?",
    ),
    "background": (
        "What colour is the background?", "Which colour does the background have?", "What is the background?",
        "What is the colour of the background?", "Describe the background.", "~Which colour is the background?",
    ),
    "describe_video": (
        "Describe this video.", "Describe the video.", "What do you see?", "What does the video show?",
        "What is shown in this video?", "Tell me about this video.", "Please describe what you see.",
        "~Please describe this video.", "~What do you see in this video?",
    ),
    "happens": (
        "What happens in the video?", "What happens?", "What happens here?", "What is happening?",
        "Tell me what happens.", "What is going on?", "What happens in this clip?", "What do you see happen?",
        "~What happens in this video?", "~What is happening in the video?",
    ),
    "direction": (
        "Which way does it move?", "In which direction does it move?", "Where does it move?", "Where does it go?",
        "Which way does the shape move?", "In what direction does it go?", "~Which direction does it move?",
        "~Which way does it go?",
    ),
    "direction_of": (
        "Which way does the {noun} move?", "In which direction does the {noun} move?", "Where does the {noun} go?",
        "Where does the {noun} move?", "~Which direction does the {noun} move?",
    ),
    "changed": (
        "What changed?", "What changes?", "What is different at the end?", "What has changed?",
        "What changes in the video?", "What is the change?", "~What changed in the video?",
    ),
    "actor": (
        "Which shape changes?", "Which shape is it that changes?", "Which shape moves or changes?",
        "What shape does something?", "Which one does something?", "Which one moves or changes?", "Which one is it?",
        "Which of the shapes changes?", "Which shape does not stay the same?", "~Which one changes?",
    ),
    "hello": (
        "Hello!", "Hi!", "Hello Vita.", "Good morning!", "Hi there!", "Hey!", "Good evening.", "~Hi Vita!",
        "~Good day!",
    ),
    "abilities": (
        "What can you do?", "What are you able to do?", "How can you help me?", "Help.", "What do you know?",
        "Tell me what you can do.", "~What can you do for me?",
    ),
    "name": (
        "Who are you?", "What is your name?", "What are you?", "Tell me who you are.", "Are you a robot?",
        "~Tell me your name.",
    ),
    "heard": ("What did I say?", "Repeat what I said.", "What did you hear?", "~Please repeat what I said."),
    "thanks": ("Thank you!", "Thanks!", "Thank you very much.", "Thanks a lot.", "~Many thanks!"),
    "off_topic": (
        "What is the weather like today?", "Write a poem about the sea.", "What is the capital of France?",
        "How old are you?", "Tell me a joke.", "What is two plus two?", "Who wrote this book?", "Sing a song.",
        "Translate this into German.", "What time is it?", "Why is the sky blue?", "Do you like music?",
        "Write a program that sorts a list.", "Who is the president?", "How do I cook rice?", "What should I eat?",
        "Where is the nearest station?", "Explain gravity.", "Can you book a flight for me?", "How far is the moon?",
        "When does the shop open?", "Play some music.", "What is the meaning of life?", "Read me the news.",
        "What is the capital of Japan?", "How do I fix a bicycle?", "Tell me a riddle.", "Who won the election?",
        "What is the tallest mountain?", "How do I make pancakes?", "Can you call my mother?", "Set a timer.",
        "Who painted the Mona Lisa?", "What is the best film of all time?", "Which team plays tonight?",
        "How many people live in London?", "Give me a recipe for soup.", "What is seven times eight?",
        "Tell me something about history.", "How does a car work?", "What does this word mean?",
        "When was the war over?", "Wake me up at seven.", "Where do penguins live?", "What day is it today?",
        "Why do cats purr?", "Sing me a song about love.", "How tall is the tower?", "Who invented the telephone?",
        "What is the largest country?", "Tell me about the weather tomorrow.", "How do I learn French?",
        "~How do I bake bread?", "~What is the capital of Spain?", "~Tell me a story.", "~Who won the game?",
    ),
}  # fmt: skip

CHINESE: Mapping[str, tuple[str, ...]] = {
    "describe": (
        "描述这张图片。", "请描述这张图片。", "描述一下这张图。", "你看到了什么？", "图片里有什么？", "这是什么？",
        "图里有什么？", "~请描述一下这张图片。", "~你看到什么？",
    ),
    "kinds": ("有哪些图形？", "你看到哪些图形？", "图里有哪些图形？", "列出所有图形。", "~图片里有哪些图形？"),
    "colours": ("有哪些颜色？", "你看到哪些颜色？", "图里有哪些颜色？", "~图片里有哪些颜色？"),
    "count": (
        "有几个图形？", "有多少个图形？", "图里有几个图形？", "数一数有几个图形。", "一共有几个图形？",
        "~图片里有几个图形？", "~一共有多少个图形？",
    ),
    "count_noun": (
        "有几个{noun}？", "有多少个{noun}？", "图里有几个{noun}？", "一共有几个{noun}？", "~图片里有几个{noun}？",
    ),
    "colour_of": (
        "{noun}是什么颜色？", "{noun}是什么颜色的？", "{noun}的颜色是什么？", "告诉我{noun}的颜色。",
        "{noun}是哪种颜色？",
        "~请问{noun}是什么颜色？",
    ),
    "kind_of": ("{noun}是什么？", "{noun}是什么形状？", "哪个图形是{colour}的？", "~什么图形是{colour}的？"),
    "where": (
        "{noun}在哪里？", "{noun}在哪儿？", "{noun}在什么位置？", "告诉我{noun}在哪里。", "~请问{noun}在哪里？",
    ),
    "at": ("{place}有什么？", "{place}是什么？", "{place}有什么图形？", "~你看到{place}有什么？"),
    "is_there": ("有{noun}吗？", "有没有{noun}？", "图里有{noun}吗？", "你看到{noun}了吗？", "~图片里有没有{noun}？"),
    "bigger": (
        "{noun}和{other}哪个更大？", "哪个更大，{noun}还是{other}？", "{noun}大还是{other}大？",
        "~{noun}和{other}哪个大？",
    ),
    "size_of": ("{noun}有多大？", "{noun}是大还是小？", "~{noun}的大小是什么？"),
    "biggest": ("哪个图形最大？", "最大的图形是什么？", "~哪个最大？"),
    "smallest": ("哪个图形最小？", "最小的图形是什么？", "~哪个最小？"),
    "background": ("背景是什么颜色？", "背景是什么颜色的？", "背景的颜色是什么？", "~请问背景是什么颜色？"),
    "describe_video": (
        "描述这个视频。", "请描述这个视频。", "描述一下这个视频。", "你看到了什么？", "~请描述一下这个视频。",
    ),
    "happens": ("发生了什么？", "视频里发生了什么？", "发生了什么事？", "这里发生了什么？", "~请问发生了什么？"),
    "direction": ("它向哪个方向移动？", "它往哪里移动？", "它向哪边移动？", "~它往哪个方向移动？"),
    "direction_of": ("{noun}向哪个方向移动？", "{noun}往哪里移动？", "{noun}向哪边移动？", "~{noun}往哪个方向移动？"),
    "changed": ("什么变了？", "有什么变化？", "发生了什么变化？", "~有什么改变？"),
    "actor": ("哪个图形变了？", "哪个图形有变化？", "哪个图形在变化？", "哪一个变了？", "~哪个图形发生了变化？"),
    "hello": ("你好！", "你好。", "您好！", "早上好！", "~嗨，你好！"),
    "abilities": ("你能做什么？", "你会做什么？", "你可以做什么？", "~你能帮我做什么？"),
    "name": ("你是谁？", "你叫什么名字？", "你叫什么？", "~请问你是谁？"),
    "heard": ("我说了什么？", "你听到了什么？", "重复我说的话。", "~请重复我说的话。"),
    "thanks": ("谢谢！", "谢谢你！", "多谢！", "~非常感谢！"),
    "off_topic": (
        "今天天气怎么样？", "讲个笑话。", "法国的首都是哪里？", "现在几点？", "唱一首歌。", "写一首诗。",
        "一加一等于几？",
        "怎么做饭？", "你喜欢音乐吗？", "附近有车站吗？", "日本的首都是哪里？", "明天会下雨吗？", "给我唱首歌。",
        "谁是总统？", "月亮有多远？", "帮我订一张票。", "怎么学英语？", "讲一个历史故事。", "三乘以四等于几？",
        "今天星期几？", "给我读新闻。", "最高的山是哪座？", "~给我讲个故事。", "~西班牙的首都是哪里？",
    ),
}  # fmt: skip
BEFORE = ("", "", "", "", "", "", "Vita, ", "Hey Vita, ", "Please tell me: ", "Okay, ", "So, ")
WORDINGS = {"en": ENGLISH, "zh": CHINESE}
_LATER = {"en": later_wordings.ENGLISH, "zh": later_wordings.CHINESE}
_SHORT = {"en": short_wordings.ENGLISH, "zh": short_wordings.CHINESE}


def strange_wordings(language: str, intent: str) -> tuple[str, ...]:
    """Return what strangers may type and training never uses."""
    return tuple(text.removeprefix(HELD_OUT) for text in _SHORT[language][intent] if text.startswith(HELD_OUT))


@cache
def wordings(language: str, intent: str, held_out: bool = False, later: bool = False) -> tuple[str, ...]:
    """Return the wordings of an intent that training begins with, those of its last lesson, or those kept from it."""
    if later:
        return _LATER[language][intent]
    every = (*WORDINGS[language][intent], *_SHORT[language].get(intent, ()))
    return tuple(text.removeprefix(HELD_OUT) for text in every if text.startswith(HELD_OUT) == held_out)
