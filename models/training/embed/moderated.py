"""Sentences that moderation should tell from harmless ones, with what they are; tame on purpose.

Who uses it: pairs.py, which pairs a sentence with a description of its category, so that descriptions work as prototypes.
Nothing here depicts what must not be depicted: for sexual content and minors there are descriptions alone.
Invariant: descriptions stand word for word in no data file of the server, so that its prototypes are not learned by heart.
"""

GROUPS = "(foreigners|immigrants|women|old people|religious people|poor people|disabled people|refugees|gay people)"
WHO = "(you|him|her|my neighbour|that man|those people|my boss|my brother|the teacher)"

# Category: descriptions, sentences.
CATEGORIES = {
    "violence": (
        (
            "a threat to hurt or kill somebody",
            "physical violence against a person",
            "someone wants to injure others",
            "killing and beating people",
        ),
        (
            f"i (will|am going to|want to) (kill|murder|stab|shoot|strangle|beat) {WHO}",
            f"(he|she|they) (killed|murdered|stabbed|shot|beat up|attacked) {WHO} with a (knife|gun|hammer|bat)",
            f"(somebody|someone) should (shoot|hang|kill) {WHO}",
            "(i will|i'm going to) (blow up|bomb|burn down) the (school|office|church|station)",
            f"i hope {WHO} (die|dies|gets killed|bleeds to death)",
        ),
    ),
    "graphic violence": (
        (
            "gory details of wounds and corpses",
            "blood and torn bodies described in detail",
            "a bloody description of mutilation",
        ),
        (
            "blood (poured|gushed|sprayed) from the (wound|cut throat|torn arm)",
            "(his|her|the) (head|arm|leg|body) was (cut off|torn apart|crushed) and blood (covered|soaked) the (floor|wall|street)",
            "the corpse (lay in pieces|was mutilated|had its guts hanging out)",
        ),
    ),
    "harassment": (
        ("insults against a person", "bullying and humiliating somebody", "abusive words aimed at someone"),
        (
            "you are (a stupid|a worthless|a pathetic|a disgusting|an ugly) (idiot|loser|moron|fool|pig)",
            "(shut up|get lost), you (idiot|moron|loser|piece of trash)",
            "(nobody|no one) (likes|wants|loves) you, you (freak|loser|ugly fool)",
            "everyone (laughs at|hates|despises) you, (loser|idiot|you fool)",
        ),
    ),
    "hate": (
        (
            "contempt for a group of people because of what they are",
            "hatred against a minority",
            "prejudice against people for their origin or belief",
        ),
        (
            f"(all|these) {GROUPS} are (vermin|animals|parasites|criminals|inferior|filth)",
            f"i hate {GROUPS}, they (ruin|poison|destroy) our (country|town|society)",
            f"{GROUPS} (do not deserve|should not have) (rights|respect|a place here)",
            f"we must (get rid of|throw out) all {GROUPS}",
        ),
    ),
    "hate with threats": (
        ("calling for violence against a minority", "threatening a group of people because of what they are"),
        (f"(kill|shoot|burn|hang) all {GROUPS}", f"{GROUPS} should be (killed|shot|wiped out|exterminated)"),
    ),
    "self-harm": (
        ("somebody hurts himself or thinks of suicide", "suicide and cutting oneself", "wishing to end one's own life"),
        (
            "i (want to|will|am going to) (kill myself|end my life|hang myself|cut myself|take my own life)",
            "i (do not|don't) want to (live|be alive|exist) (anymore|any longer)",
            "(i am|i've been) (cutting|hurting|starving) myself",
            "everyone would be better off (without me|if i were dead)",
            "i think about suicide (every day|all the time|at night)",
        ),
    ),
    "self-harm instructions": (
        ("instructions for suicide", "advice on ways to hurt oneself"),
        ("(how do i|what is the best way to|tell me how to) (kill myself|commit suicide|end my life)( without pain|)",),
    ),
    "sexual": (
        ("sexual acts and arousal", "erotic and pornographic content", "explicit talk about sex"),
        (
            "(they|we) (had|are having) (hot|wild|passionate) sex (all night|in bed|on the sofa)",
            "(she|he) (took off|stripped off) all (her|his) clothes and (touched|kissed) (his|her) naked body",
            "(show|send) me (nude|naked|porn|sexy) (pictures|videos|photos)",
            "i want to (have sex with|sleep with|undress) you (tonight|now)",
            "(a|an) (erotic|pornographic|adult) (story|film|video|scene)( with nudity|)",
        ),
    ),
    "minors": (
        (
            "sexual content that involves children",
            "abuse of a person under eighteen",
            "indecent material about minors",
            "content about child abuse",
            "sexual exploitation of underage people",
        ),
        ("(child|underage) (sexual|) abuse( material|)", "sexual (exploitation|abuse) of (children|minors)"),
    ),
    "illicit": (
        ("help with a crime", "advice on unlawful acts such as theft, drugs or weapons", "how to break the law"),
        (
            "how (do i|to|can i) (make|build) a (bomb|pipe bomb|gun at home)",
            "how (do i|to|can i) (cook|make|sell|smuggle) (drugs|meth|cocaine|heroin)",
            "how (do i|to|can i) (hack into|break into) (a bank|an account|a house|someone's phone)",
            "how (do i|to|can i) (forge|fake) (money|a passport|a signature)",
            "(tell me|explain) how to (steal|shoplift|rob a bank|launder money) (without being caught|and get away)",
        ),
    ),
    "illicit and violent": (
        ("help with weapons and attacks", "instructions for explosives or poison"),
        (
            "how (do i|to|can i) (poison|kill) (a person|someone|my wife|my boss) (without being caught|secretly)",
            "(plan|help me plan|prepare) an (attack|assault|armed robbery) (on|at) the (school|bank|church)",
        ),
    ),
    # Harmless sentences that share words with the above.
    "harmless": (
        ("an everyday remark", "an ordinary question", "something harmless", "a normal request", "a friendly talk"),
        (
            "how do i kill a (process|program|task|thread)( in linux|)",
            "(this|the) (joke|film|exam|workout) (killed|is killing) me",
            "the (knife|gun) is in the (kitchen|museum|film)",
            "i (cut|shot) (the bread|the paper|a photo|a film) (today|yesterday)",
            "(women|old people|immigrants|refugees|children) (work|live|study|play) (in our town|here|in the park)",
            "i (love|respect|help) (my neighbours|old people|refugees|children|my brother)",
            "(he|she) (kissed|hugged|greeted) (his|her) (mother|child|friend) (goodbye|warmly)",
            "the (doctor|nurse) treats the (wound|cut|blood pressure)",
            "(you are|she is|he is) (a good|a kind|a clever|a wonderful) (friend|person|teacher)",
            "(they|we) had (dinner|breakfast|a meeting|fun) (at home|in bed|on the sofa|all night)",
            "i (want to|will) (live|sleep|travel|learn|help myself to cake) (more|tonight|soon)",
            "the (children|kids) (play|learn|sing|eat) (at school|in the garden|at home)",
            "how (do i|can i) (make|build|bake) (a cake|a table|a website|bread|a kite)",
            "how (do i|can i) (open|log into|secure) (my account|my phone|a bank account)",
            "(thank you|thanks), that (helps|is kind|was good)",
            "(please|could you) (translate|summarise|explain) this (text|page|letter)",
            "(hello|good morning|hi there), how are you( today|)",
        ),
    ),
}
