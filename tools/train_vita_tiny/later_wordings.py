"""More ways to ask, which the last lesson brings: who has heard only a few learns these by heart."""

from collections.abc import Mapping

ENGLISH: Mapping[str, tuple[str, ...]] = {
    "describe": (
        "What does this image show?", "Tell me about the image.", "Can you describe the picture?",
        "What is there to see?", "Tell me what the picture shows.", "Please tell me what you see.",
        "What is on the picture?", "Give me a description.", "Describe everything.", "What is in the image?",
        "Tell me what is here.",
    ),
    "kinds": (
        "Name all shapes.", "Tell me the shapes.", "Which shapes are shown?", "What kinds of shapes are there?",
        "Name every shape.", "Please list the shapes.", "List everything.", "What shapes do you see here?",
    ),
    "colours": (
        "Tell me the colours.", "List the colours.", "Which colours are shown?", "What colours do you see?",
        "Which colours are used?", "Name all colours.",
    ),
    "count": (
        "Tell me how many shapes there are.", "What is the number of shapes?", "How many things do you see?",
        "How many shapes are shown?", "Give me the number of shapes.", "How many shapes does the picture show?",
    ),
    "count_noun": (
        "Tell me how many {nouns} there are.", "How many {nouns} are shown?", "Give me the number of {nouns}.",
        "How many {nouns} does the picture show?",
    ),
    "colour_of": (
        "The {noun} has which colour?", "Please tell me the colour of the {noun}.", "Name the colour of the {noun}.",
        "In which colour is the {noun}?", "What colour has the {noun}?", "Do you know the colour of the {noun}?",
    ),
    "kind_of": (
        "Name the {colour} shape.", "Tell me what is {colour}.", "Which one is {colour}?",
        "What kind of shape is {colour}?", "Which of the shapes is {colour}?", "What thing is {colour}?",
    ),
    "where": (
        "Show me the {noun}.", "Locate the {noun}.", "Can you find the {noun}?", "Where exactly is the {noun}?",
        "Do you know where the {noun} is?", "Where in the picture is the {noun}?", "At which place is the {noun}?",
    ),
    "at": (
        "Tell me what you see {place}.", "What is shown {place}?", "Is there anything {place}?",
        "Which thing is {place}?", "What can be seen {place}?", "Name the shape {place}.",
    ),
    "is_there": (
        "Is {a_noun} in the picture?", "Does the image show {a_noun}?", "Can you find {a_noun}?",
        "Are you able to see {a_noun}?", "Is there {a_noun} somewhere?", "Tell me if there is {a_noun}.",
    ),
    "bigger": (
        "Which of them is bigger, the {noun} or the {other}?", "Is the {noun} larger or the {other}?",
        "Compare the {noun} and the {other}.", "Of the {noun} and the {other}, which is larger?",
        "Tell me which is bigger, the {noun} or the {other}.",
    ),
    "size_of": (
        "How large is the {noun}?", "Tell me the size of the {noun}.", "What size has the {noun}?",
        "Of which size is the {noun}?", "Is the {noun} big or small?", "Name the size of the {noun}.",
    ),
    "biggest": (
        "Name the biggest shape.", "Which one is the largest?", "Tell me the largest shape.",
        "What is the largest thing?", "Which thing is the biggest?", "Which of the shapes is the largest?",
    ),
    "smallest": (
        "Name the smallest shape.", "Tell me the smallest shape.", "What is the smallest thing?",
        "Which thing is the smallest?", "Which of the shapes is the smallest?",
    ),
    "background": (
        "Tell me the colour of the background.", "Name the colour of the background.",
        "The background has which colour?", "In which colour is the background?",
    ),
    "describe_video": (
        "Describe this clip.", "Tell me about the video.", "What is in this video?", "What can you see in the clip?",
        "Please describe the clip.", "What do you see in the clip?",
    ),
    "happens": (
        "Tell me what is happening.", "What goes on here?", "What is it that happens?", "What happens in the clip?",
        "Describe what happens.", "What is going on in the video?", "What takes place?",
    ),
    "direction": (
        "Tell me which way it moves.", "Where is it going?", "In which direction does it go?", "Where is it moving?",
        "What is the direction of the movement?", "To which side does it move?",
    ),
    "direction_of": (
        "Tell me which way the {noun} moves.", "Where is the {noun} going?", "Which way does the {noun} go?",
        "In what direction does the {noun} go?", "To which side does the {noun} move?",
    ),
    "changed": (
        "Tell me what changed.", "What is changing?", "What is different now?", "Which change do you see?",
        "What became different?", "Did anything change?",
    ),
    "actor": (
        "Tell me which shape changes.", "Which thing changes?", "Which shape does something?",
        "Which shape is different at the end?", "Name the shape that changes.", "Which one is not the same at the end?",
    ),
    "hello": ("Good afternoon!", "Hello there!", "Greetings!", "Hey Vita!", "Hello, my friend!"),
    "abilities": (
        "What can you do to help?", "Tell me what you are able to do.", "What are your abilities?", "What do you do?",
        "How can I use you?", "What can I ask you?",
    ),
    "name": (
        "Please tell me who you are.", "Do you have a name?", "What should I call you?", "Tell me what you are.",
        "What is your name, please?", "Who is speaking?",
    ),
    "heard": ("Say again what I said.", "What was my question?", "Tell me what I said.", "Repeat my question."),
    "thanks": ("Thank you so much!", "Thanks, Vita!", "Great, thank you.", "I thank you.", "Thank you, that helps."),
    "off_topic": (
        "Who won the cup?", "How do I fry an egg?", "What is the capital of Portugal?", "Tell me a joke about cats.",
        "Sing something.", "What is the time in New York?", "Recommend a film.", "How do I draw a horse?",
    ),
}  # fmt: skip

CHINESE: Mapping[str, tuple[str, ...]] = {
    "describe": (
        "请说说这张图片。", "说说你看到了什么。", "这张图片里有什么？", "图上有什么？", "请描述你看到的。",
        "告诉我图里有什么。",
    ),
    "kinds": (
        "说出所有图形。", "图上有哪些图形？", "都有哪些图形？", "请列出图形。", "告诉我有哪些图形。",
        "请问有哪些图形？",
    ),
    "colours": ("都有哪些颜色？", "说出所有颜色。", "图上有哪些颜色？", "告诉我有哪些颜色。", "请问有哪些颜色？"),
    "count": ("图上有几个图形？", "告诉我有几个图形。", "总共有几个图形？", "请数一数图形。", "请问有几个图形？"),
    "count_noun": (
        "图上有几个{noun}？", "总共有几个{noun}？", "告诉我有几个{noun}。", "{noun}有几个？", "请问有几个{noun}？",
    ),
    "colour_of": (
        "{noun}什么颜色？", "说出{noun}的颜色。", "请告诉我{noun}的颜色。", "请问{noun}的颜色是什么？",
        "那个{noun}是什么颜色？",
    ),
    "kind_of": (
        "哪个是{colour}的？", "{colour}的是什么？", "{colour}的图形是什么？", "告诉我{colour}的是什么图形。",
        "哪种图形是{colour}的？", "请问{noun}是什么？",
    ),
    "where": (
        "{noun}在图里哪里？", "说说{noun}在哪里。", "那个{noun}在哪里？", "请问{noun}在哪儿？", "{noun}的位置在哪里？",
    ),
    "at": ("{place}是什么图形？", "告诉我{place}有什么。", "看看{place}有什么。", "请问{place}有什么？"),
    "is_there": (
        "图上有{noun}吗？", "能看到{noun}吗？", "请问有{noun}吗？", "你看得到{noun}吗？", "这里有没有{noun}？",
    ),
    "bigger": (
        "{noun}和{other}相比哪个更大？", "比一比{noun}和{other}。", "请问{noun}和{other}哪个更大？",
        "{noun}跟{other}哪个大一些？", "是{noun}大还是{other}大？",
    ),
    "size_of": ("{noun}是多大的？", "说说{noun}的大小。", "告诉我{noun}有多大。", "请问{noun}有多大？"),
    "biggest": ("最大的是哪个图形？", "最大的是什么？", "说出最大的图形。", "哪一个图形最大？", "请问哪个图形最大？"),
    "smallest": ("最小的是哪个图形？", "最小的是什么？", "说出最小的图形。", "哪一个图形最小？", "请问哪个图形最小？"),
    "background": ("告诉我背景的颜色。", "背景是哪种颜色？", "说出背景的颜色。", "背景什么颜色？"),
    "describe_video": ("说说这个视频。", "视频里有什么？", "请说说视频里有什么。", "这个视频里有什么？"),
    "happens": ("告诉我发生了什么。", "这个视频里发生了什么？", "说说发生了什么。", "出了什么事？"),
    "direction": ("它向哪里移动？", "它朝哪个方向移动？", "它去了哪里？", "请问它往哪里移动？", "它朝哪边动？"),
    "direction_of": ("{noun}朝哪个方向移动？", "{noun}向哪里移动？", "请问{noun}往哪里移动？", "{noun}朝哪边动？"),
    "changed": ("变了什么？", "什么发生了变化？", "有什么不同？", "什么不一样了？", "请问什么变了？"),
    "actor": ("变化的是哪个图形？", "是哪个图形变了？", "哪个图形不一样了？", "请问哪个图形变了？"),
    "hello": ("嗨！", "大家好！", "晚上好！", "你好，Vita！", "下午好！"),
    "abilities": ("你有什么本领？", "你都会什么？", "告诉我你能做什么。", "请问你能做什么？", "你能干什么？"),
    "name": ("告诉我你是谁。", "你的名字是什么？", "请问你叫什么名字？", "怎么称呼你？"),
    "heard": ("刚才我说了什么？", "我问了什么？", "把我说的话重复一遍。"),
    "thanks": ("谢谢你的帮助！", "谢谢啦！", "太感谢了！", "谢了！"),
    "off_topic": ("英国的首都是哪里？", "今天下雨吗？", "给我讲个童话。", "怎么煮面？", "几点下课？"),
}  # fmt: skip
