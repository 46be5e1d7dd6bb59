"""Questions about other things, put together from parts: what the miniature is to decline, whatever the words."""

from collections.abc import Mapping

import numpy as np

_PATTERNS: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "en": (
        ("What is the capital of {}?",
         ("Italy", "Brazil", "Canada", "Egypt", "Norway", "China", "Greece", "India", "Poland", "Mexico")),
        ("How do I {}?",
         ("boil an egg", "tie a tie", "change a tyre", "write a letter", "plant a tree", "clean a window",
          "make a cup of tea", "get to the airport", "learn Spanish", "lose weight", "build a table",
          "roast a chicken")),
        ("Tell me {}.",
         ("a fairy tale", "the news", "a secret", "something funny", "the result of the match", "about your family",
          "a long story about a dog", "about the Romans", "the price of gold", "how to sleep better")),
        ("Who {}?",
         ("won the race", "wrote Hamlet", "is the king of Spain", "discovered America", "plays tonight",
          "won the match", "is the best singer", "built the pyramids", "lost the game", "is calling",
          "sang this song")),
        ("Can you {}?",
         ("open the door", "drive a car", "speak Russian", "order a pizza", "turn on the light", "send a message",
          "solve this equation", "play chess", "remember my birthday", "write a story", "bake a cake")),
        ("Why {}?",
         ("do we dream", "is the sea salty", "do leaves fall", "is it so cold", "do birds sing", "did they lose")),
        ("When {}?",
         ("does the train leave", "is your birthday", "was Rome built", "did the game end", "will it rain",
          "is the next holiday", "do the shops close")),
        ("What is {}?",
         ("your favourite food", "the price of bread", "three times four", "the square root of nine",
          "the best book", "love", "the fastest animal", "the name of this song", "new in politics")),
        ("Do you {}?",
         ("like football", "have children", "speak French", "sleep at night", "believe in ghosts", "know my brother")),
        ("How {}?",
         ("are you today", "old is the universe", "does a radio work", "deep is the ocean", "many people live in Spain",
          "far is Paris", "much is a ticket", "warm will it be tomorrow", "does bread rise")),
    ),
    "zh": (
        ("{}的首都是哪里？", ("英国", "德国", "意大利", "中国", "俄国", "印度")),
        ("怎么{}？", ("做面条", "学游泳", "去机场", "写信", "修车", "煮鸡蛋", "学法语")),
        ("给我{}。", ("唱首歌", "讲个笑话", "读一首诗", "买一杯茶", "打电话", "讲个童话")),
        ("{}几点？", ("火车", "电影", "比赛", "会议", "明天早上")),
        ("你喜欢{}吗？", ("唱歌", "足球", "吃面", "下雨", "电影", "猫")),
        ("谁{}？", ("赢了比赛", "写了这本书", "是老师", "打了电话", "最高")),
    ),
}  # fmt: skip


def other_question(language: str, rng: np.random.Generator) -> str:
    """Put together a question about something that is not of the world."""
    patterns = _PATTERNS[language]
    pattern, fillings = patterns[rng.integers(len(patterns))]
    return pattern.format(fillings[rng.integers(len(fillings))])
