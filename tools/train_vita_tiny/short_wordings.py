"""What strangers type: other verbs, fragments, slips.  A wording that begins with "~" is kept for the exam."""

from collections.abc import Mapping

ENGLISH: Mapping[str, tuple[str, ...]] = {
    "describe": (
        "Explain this image.", "Explain the picture.", "Can you explain this picture?", "What's this?",
        "What's in this picture?", "What's in the photo?", "What is in this photo?", "Describe this photo.",
        "Describe the photo.", "What is this a picture of?", "What's going on in this image?", "Caption this image.",
        "Give me a caption.", "Describe this images.", "Describe.", "Describe it.", "Description?",
        "Description please.",
        "Tell me everything about this picture.", "What am I looking at?", "Could you describe the image for me?",
        "Describe what is in the picture.", "Write a description of this image.", "What do u see?",
        "Whats in the image?",
        "What do you think this is?", "Say what you see.", "~Explain what is in this picture.",
        "~What's in this image?",
        "~What can be seen in the photo?", "~Can you tell me what this picture shows?", "~Describe the picture please.",
    ),
    "kinds": (
        "What's there?", "Which objects are there?", "What objects are in the image?", "List the objects.",
        "Name the objects.", "Name all objects in the picture.", "Shapes?", "What shapes?", "Which figures do you see?",
        "What are the shapes?", "Identify the shapes.", "What things are there?", "What shapes are in the photo?",
        "~Which shapes are in the image?", "~Identify all objects.",
    ),
    "colours": (
        "Colours?", "What colours?", "Which colours are there?", "What are the colours?",
        "What colours are the shapes?",
        "Colours of the shapes?", "List all the colours.", "What colours are in the picture?",
        "~What colours are the objects?",
    ),
    "count": (
        "Number of shapes?", "How many?", "How many shapes?", "How many objects?", "How many objects do you see?",
        "How many figures are there?", "Count the objects.", "Count them.", "Count all shapes.", "Shape count?",
        "What's the number of shapes?", "How many items are in the picture?", "Total number of objects?",
        "~Number of objects?", "~How many objects can you count?",
    ),
    "count_noun": (
        "Number of {nouns}?", "How many {nouns}?", "{nouns}: how many?", "How many {nouns} in total?",
        "How many {nouns} can you count?", "The number of {nouns}?", "~Count of {nouns}?",
    ),
    "colour_of": (
        "Colour of the {noun}?", "Colour of {noun}?", "What colour is the {noun} in the photo?", "The {noun}'s colour?",
        "What's the colour of the {noun}?", "And the colour of the {noun}?", "{noun} colour?",
        "Which colour is {a_noun}?",
        "Of what colour is the {noun}?", "~The colour of the {noun}?", "~What's the {noun}'s colour?",
    ),
    "kind_of": (
        "Name the {colour} object.", "What's the {colour} object?", "What is the {colour} object?",
        "Which object is {colour}?",
        "What's {colour}?", "The {colour} one is what?", "What is the {colour} one?", "The {colour} shape?",
        "Identify the {colour} shape.", "Which figure is {colour}?", "What is the shape of the {colour} object?",
        "~Tell me what the {colour} object is.", "~What shape is the {colour} one?",
    ),
    "where": (
        "Where's the {noun}?", "Where is {a_noun}?", "Location of the {noun}?", "Position of the {noun}?",
        "Where {noun}?",
        "The {noun} is where?", "What is the location of the {noun}?", "In which part of the image is the {noun}?",
        "Where is the {noun} located?", "~Where's the {noun} located?", "~Position of {a_noun}?",
    ),
    "at": (
        "What's {place}?", "What object is {place}?", "What shape do you see {place}?", "Which object is {place}?",
        "Anything {place}?", "Is something {place}?", "Object {place}?", "~What is located {place}?",
    ),
    "is_there": (
        "Any {nouns}?", "Any {noun}?", "{a_noun}?", "Are there any {nouns}?", "Is there any {noun}?",
        "Do you see any {nouns}?", "Is {a_noun} visible?", "Does it contain {a_noun}?",
        "Is there {a_noun} in the photo?",
        "Does the image contain {a_noun}?", "Does this picture have {a_noun}?", "~Are {nouns} visible?",
        "~Can you see any {nouns}?",
    ),
    "bigger": (
        "{noun} or {other}: which is bigger?", "Which one is larger, {noun} or {other}?", "Bigger: {noun} or {other}?",
        "What's bigger, the {noun} or the {other}?", "Is the {noun} bigger than the {other}?",
        "~Who is bigger, the {noun} or the {other}?",
    ),
    "size_of": (
        "Size of the {noun}?", "What's the size of the {noun}?", "Is the {noun} large or small?",
        "~The {noun}'s size?",
    ),
    "biggest": (
        "Biggest shape?", "Largest object?", "What's the biggest shape?", "Which object is the biggest?",
        "What is the biggest object?", "Which is biggest?", "~What's the largest object?",
    ),
    "smallest": (
        "Smallest shape?", "Smallest object?", "What's the smallest shape?", "Which object is the smallest?",
        "What is the smallest object?", "Which is smallest?", "~Which one is smallest?",
    ),
    "background": (
        "Background colour?", "What's the background?", "What's the background colour?", "Colour of the background?",
        "What is behind the shapes?", "Background?", "Is the background white?",
        "~What's the colour of the background?",
    ),
    "describe_video": (
        "Explain this video.", "What's in the video?", "What's this video about?", "What's in this clip?",
        "Summarise the video.", "Summarize this clip.", "Describe this videos.", "What do you see in the video?",
        "~Explain what the video shows.",
    ),
    "happens": (
        "What's happening?", "What's going on?", "What happened?", "What happens in this video?!", "What did you see?",
        "What is happening here?", "What's happening in the clip?", "What event takes place?",
        "~What's going on in the video?",
    ),
    "direction": (
        "Which direction?", "Direction?", "Where's it going?", "What direction does it move?",
        "Where does the shape move?",
        "Which way is it moving?", "Movement direction?", "~Which way is it going?",
    ),
    "direction_of": (
        "Direction of the {noun}?", "Which way is the {noun} moving?", "What direction does the {noun} move?",
        "Where's the {noun} going?", "~Where is the {noun} moving?",
    ),
    "changed": (
        "What's changed?", "What's different?", "Any changes?", "What has happened to the shapes?",
        "What's the difference?",
        "~What's changing?",
    ),
    "actor": (
        "Which shape moves?", "Which object moves?", "What moves?", "What is moving?", "Which shape is moving?",
        "Which object changes?", "What's moving?", "~Which thing moves?",
    ),
    "hello": ("Hey there.", "Hi Vita.", "Yo!", "Hello?", "~Hey, hello!"),
    "abilities": (
        "What can you do for us?", "How do you work?", "What's your use?", "Help me.", "~What are you good for?",
    ),
    "name": ("What's your name?", "Who r you?", "Your name?", "~And who are you?"),
    "heard": ("What did I just say?", "What did I ask?", "~What have I said?"),
    "thanks": ("Thx.", "Ty!", "Thanks for that.", "Cool, thanks.", "~Ok thanks."),
    "off_topic": (
        "What's the weather?", "Write me an essay.", "What's 12 times 12?", "Who is Einstein?", "How are you?",
        "Recommend me a restaurant.", "What's the news?", "Solve x plus 3 equals 7.", "~What's the time?",
        "~Who is the chancellor?",
    ),
}  # fmt: skip

CHINESE: Mapping[str, tuple[str, ...]] = {
    "describe": ("解释一下这张图片。", "这张照片里有什么？", "这是什么图？", "说说这张图。", "~解释这张图。"),
    "kinds": ("有什么图形？", "有哪些东西？", "都是什么图形？", "~图里都有什么图形？"),
    "colours": ("什么颜色？", "颜色有哪些？", "~都是什么颜色？"),
    "count": ("几个图形？", "有几个？", "多少个图形？", "图形的数量？", "~图形有几个？"),
    "count_noun": ("几个{noun}？", "{noun}的数量？", "~多少个{noun}？"),
    "colour_of": ("{noun}的颜色？", "~{noun}颜色是什么？"),
    "kind_of": ("{colour}的东西是什么？", "~{colour}的那个是什么？"),
    "where": ("{noun}的位置？", "{noun}在哪？", "哪里有{noun}？", "~{noun}在哪个位置？"),
    "at": ("{place}呢？", "~{place}有什么东西？"),
    "is_there": ("有{noun}么？", "有没有{noun}呢？", "~图里有没有{noun}？"),
    "bigger": ("{noun}和{other}，哪个大？", "谁更大，{noun}还是{other}？", "~{noun}和{other}谁大？"),
    "size_of": ("{noun}的大小？", "{noun}大不大？", "~{noun}是大的还是小的？"),
    "biggest": ("最大的是哪个？", "哪个图形最大呢？", "~哪个图形看起来最大？"),
    "smallest": ("最小的是哪个？", "哪个图形最小呢？", "~哪个图形看起来最小？"),
    "background": ("背景颜色？", "什么背景？", "~背景呢？"),
    "describe_video": ("解释一下这个视频。", "~讲讲这个视频。"),
    "happens": ("怎么了？", "发生什么了？", "视频里怎么了？", "~到底发生了什么？"),
    "direction": ("往哪个方向？", "它往哪边走？", "~往哪里移动？"),
    "direction_of": ("{noun}往哪边走？", "{noun}移动的方向？", "~{noun}朝哪里移动？"),
    "changed": ("哪里变了？", "有变化吗？", "~变化是什么？"),
    "actor": ("什么在动？", "哪个图形在动？", "~谁在动？"),
    "hello": ("~哈喽！",),
    "abilities": ("你有什么用？", "~你有哪些本领？"),
    "name": ("你的名字？", "~名字是什么？"),
    "heard": ("我刚才说了什么？", "~我讲了什么？"),
    "thanks": ("~好的谢谢！",),
    "off_topic": ("天气怎么样？", "你多大了？", "~现在几点了？"),
}  # fmt: skip
