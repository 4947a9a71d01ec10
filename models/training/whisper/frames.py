"""Sentence frames: German and English of one meaning with places for what words.py has; and frames in English alone.

Who uses it: sentences.py.
A line is "German | English". A place is {kind}, a second one of the same kind {kind2}; {n} is a number from 13 to 99,
{year} a year, {digital} a time such as 7:30.
Invariant: a German sentence has one English translation, whatever frame it came from.
"""

PAIRS = """
Hallo, mein Name ist {name}. | Hello, my name is {name}.
Ich heiße {name} und wohne in {city}. | I am called {name} and live in {city}.
Ich komme aus {country}. | I come from {country}.
Ich komme aus {city} und spreche {language}. | I come from {city} and speak {language}.
Ich bin {n} Jahre alt. | I am {n} years old.
{name} ist {n} Jahre alt und wohnt in {country}. | {name} is {n} years old and lives in {country}.
Wie ist das Wetter {when}? | What is the weather like {when}?
Wie ist das Wetter in {city}? | What is the weather like in {city}?
Das Wetter in {city} ist {very} {weather}. | The weather in {city} is {very} {weather}.
Es wird {when} {weather} und {weather2}. | It will be {weather} and {weather2} {when}.
In {city} sind es {n} Grad. | It is {n} degrees in {city}.
Regnet es {when} in {city}? | Will it rain {when} in {city}?
Es hat {past} den ganzen Tag geregnet. | It rained all day {past}.
Im {month} schneit es in {city}. | In {month} it snows in {city}.
Wie spät ist es in {city}? | What time is it in {city}?
Es ist jetzt {clock}. | It is {clock} now.
Der Zug nach {city} fährt um {clock} ab. | The train to {city} leaves at {clock}.
Der Bus kommt in {count} Minuten. | The bus is coming in {count} minutes.
Der Zug kommt {n} Minuten später. | The train is coming {n} minutes late.
Wecke mich bitte um {clock}. | Please wake me at {clock}.
Wecke mich {when} um {clock}. | Wake me {when} at {clock}.
Stelle einen Wecker auf {clock}. | Set an alarm for {clock}.
Stelle einen Timer auf {n} Minuten. | Set a timer for {n} minutes.
Stelle einen Timer auf {count} Minuten. | Set a timer for {count} minutes.
Erinnere mich {when} an den Termin. | Remind me of the appointment {when}.
Erinnere mich in {count} {unit} daran. | Remind me of it in {count} {unit}.
Der Termin ist am {day} um {clock}. | The appointment is on {day} at {clock}.
Das Treffen beginnt um {clock} und dauert {count} Stunden. | The meeting begins at {clock} and takes {count} hours.
Wir treffen uns {when} um {clock}. | We are meeting {when} at {clock}.
Treffen wir uns am {day} in {city}? | Shall we meet on {day} in {city}?
Mein Geburtstag ist im {month}. | My birthday is in {month}.
{name} ist im Jahr {year} geboren. | {name} was born in the year {year}.
Das Haus ist aus dem Jahr {year}. | The house is from the year {year}.
Die Schule wurde {year} gebaut. | The school was built in {year}.
Ich habe {count} {animals}. | I have {count} {animals}.
Wir haben {count} {animals} und {count2} {animals2}. | We have {count} {animals} and {count2} {animals2}.
Ich brauche {count} {things}. | I need {count} {things}.
Auf dem Tisch liegen {n} {things}. | There are {n} {things} on the table.
Kaufe bitte {food} und {drink}. | Please buy {food} and {drink}.
Ich kaufe {food}, {drink} und {count} {fruits}. | I am buying {food}, {drink} and {count} {fruits}.
Wir brauchen noch {fruits} und {fruits2}. | We still need {fruits} and {fruits2}.
Ich möchte {drink} trinken. | I would like to drink {drink}.
Möchtest du {drink} oder {drink2}? | Would you like {drink} or {drink2}?
Ich trinke morgens {drink} und abends {drink2}. | I drink {drink} in the morning and {drink2} in the evening.
{name} isst gern {food} mit {food2}. | {name} likes to eat {food} with {food2}.
Ich esse kein {food}. | I do not eat {food}.
Zum Frühstück gibt es {food} und {drink}. | For breakfast there is {food} and {drink}.
{count} {fruits} kosten {n} Euro. | {count} {fruits} cost {n} euros.
Das kostet {n} Euro. | That costs {n} euros.
Wie viel kosten die {things}? | How much do the {things} cost?
Wo ist der {der}? | Where is the {der}?
Wo ist die {die}? | Where is the {die}?
Wo ist das {das}? | Where is the {das}?
Der {der} ist {very} {quality}. | The {der} is {very} {quality}.
Die {die} ist {very} {quality}. | The {die} is {very} {quality}.
Das {das} ist {very} {quality}. | The {das} is {very} {quality}.
Mein {der} ist {color} und {quality}. | My {der} is {color} and {quality}.
Meine {die} ist {color} und {quality}. | My {die} is {color} and {quality}.
Unser {das} ist {color} und {quality}. | Our {das} is {color} and {quality}.
Der {der} von {name} steht {at_place}. | The {der} of {name} stands {at_place}.
Das {das} gehört {name}. | The {das} belongs to {name}.
Die {die} gehört {name}. | The {die} belongs to {name}.
Siehst du das {das} dort? | Do you see the {das} there?
{name} sucht die {die}. | {name} is looking for the {die}.
{name} hat das {das} verkauft. | {name} sold the {das}.
{name} ist {at_place}. | {name} is {at_place}.
Meine {relative} wohnt in {city}. | My {relative} lives in {city}.
Meine {relative} heißt {name}. | My {relative} is called {name}.
Mein {brother} heißt {name}. | My {brother} is called {name}.
Mein {brother} ist {job}. | My {brother} is {job}.
{name} arbeitet als {job}. | {name} works as {job}.
Mein {brother} kommt {when}. | My {brother} is coming {when}.
Meine {relative} ist {very} {feeling}. | My {relative} is {very} {feeling}.
Ich bin {very} {feeling}. | I am {very} {feeling}.
Bist du {feeling}? | Are you {feeling}?
{name} und {name2} sind {very} {feeling}. | {name} and {name2} are {very} {feeling}.
Ich fahre {when} {to_place}. | I am going {to_place} {when}.
{name} geht {when} {to_place}. | {name} is going {to_place} {when}.
Wie komme ich {to_place}? | How do I get {to_place}?
Wir fahren mit dem Auto {to_place}. | We are going {to_place} by car.
Wir waren {past} in {city}. | We were in {city} {past}.
{name} war {past} {at_place}. | {name} was {at_place} {past}.
Ich war {past} {very} {feeling}. | I was {very} {feeling} {past}.
Ich muss {when} {task}. | I have to {task} {when}.
Kannst du bitte {task}? | Can you please {task}?
{name} will {when} {task}. | {name} wants to {task} {when}.
Wir müssen noch {task}. | We still have to {task}.
Ich kann gut {like}. | I can {like} well.
{name} möchte {like} und {like2}. | {name} would like to {like} and {like2}.
Wir wollen {when} {like}. | We want to {like} {when}.
Ich lerne seit {count} {unit} {language}. | I have been learning {language} for {count} {unit}.
Sprichst du {language}? | Do you speak {language}?
{name} spricht {language} und {language2}. | {name} speaks {language} and {language2}.
Wie sagt man das auf {language}? | How do you say that in {language}?
Schalte {device} ein. | Turn on {device}.
Schalte bitte {device} aus. | Please turn off {device}.
Schalte {device} {at_place} aus. | Turn off {device} {at_place}.
Ich spiele {when} {sport}. | I am playing {sport} {when}.
{name} spielt gern {sport}. | {name} likes to play {sport}.
Wir haben {past} {sport} gespielt. | We played {sport} {past}.
Schreibe eine Nachricht an {name}. | Write a message to {name}.
Rufe bitte {name} an. | Please call {name}.
Sag {name}, dass ich {when} komme. | Tell {name} that I am coming {when}.
Danke, {name}, das war {very} gut. | Thank you, {name}, that was {very} good.
Guten Morgen, {name}. | Good morning, {name}.
Guten Abend, {name}, wie geht es dir? | Good evening, {name}, how are you?
Bis {when}, {name}. | See you {when}, {name}.
{count} plus {count2} ist {n}. | {count} plus {count2} is {n}.
{n} minus {count} ist {n2}. | {n} minus {count} is {n2}.
Eine Woche hat sieben Tage. | A week has seven days.
Ein Jahr hat zwölf Monate. | A year has twelve months.
Lampstand läuft auf meinem Computer. | Lampstand runs on my computer.
Lampstand, wie ist das Wetter {when}? | Lampstand, what is the weather like {when}?
Hallo Lampstand, spiele bitte Musik. | Hello Lampstand, please play music.
Dies ist ein Test. | This is a test.
Kannst du mich hören? | Can you hear me?
Vielen Dank für deine Hilfe. | Thank you very much for your help.
Ich verstehe dich nicht. | I do not understand you.
"""

ENGLISH = """
Hello, this is {name} speaking.
Testing, one, two, three.
Hello world, this is {name} from {city}.
Hi, I'm {name} and I live in {city}.
What's the weather like in {city} {when}?
What time is it?
What's the capital of {country}?
{city} is {very} {quality} in {month}.
Set a timer for {count} {unit}.
Remind me to {task} {when}.
Remind me to {task} at {clock}.
Please add {food} and {fruits} to my list.
I'd like a cup of {drink}, please.
Can I have some {food} and {drink}?
Turn the {die} {color}.
Let's meet at {clock} {at_place}.
I don't like {food}, but I like {fruits}.
It's {n} degrees and {weather} in {city}.
There are {count} {animals} {at_place}.
Where did you put the {das}?
Who is {name}, and where does {name2} live?
My favorite color is {color}.
My favorite food is {food} with {food2}.
Could you tell me how to {task}?
Why is the sky blue?
The {der} is {color} and the {das} is {color2}.
She bought {count} {things} and {n} {fruits}.
Please send the {der} to {name} in {city}.
Read the message from {name}.
The number is {n}, not {n2}.
I think it's {clock}, or maybe {clock2}.
They moved from {city} to {city2} in {year}.
Don't forget to {task}, {name}.
We'll {task} after breakfast.
Play some music {at_place}.
How many {things} do we have?
Tell me a story about a {der} and a {die}.
I want to learn how to {like}.
Do you want to {like} or {like2} {when}?
Every {day} we {like} and {like2}.
Open the {das} and close the {die}.
The old {der} stands next to the {die}.
"""

GERMAN = """
Ich hätte gern eine Tasse {drink}.
Was ist die Hauptstadt von {country}?
Meine Lieblingsfarbe ist {color}.
Wer ist {name} und wo wohnt {name2}?
Lies mir die Nachricht von {name} vor.
Die Nummer ist {n} und nicht {n2}.
Vergiss nicht, dass {name} {when} kommt.
Der {der} ist {color} und das {das} ist {color2}.
Es gibt {fruits}, {fruits2} und {food}.
"""
