"""What stands in the places of the sentence frames: German and English forms of one thing, by kind.

Who uses it: sentences.py.
A line of a kind is "German = English; ..."; one form alone is the same in both languages.
Invariant: within one kind a German form has exactly one English form, so that a translation is a function.
"""

POOLS = {
    "name": "Anna; Ben; Clara; David; Emma; Felix; Hannah; Jonas; Julia; Karl; Laura; Leon; Lisa; Lukas; Maria; Martin; Max; "
    "Mia; Nina; Oliver; Paul; Peter; Sarah; Sophie; Tom; Thomas",
    "city": "Berlin; Hamburg; München = Munich; Köln = Cologne; Wien = Vienna; Zürich = Zurich; London; Paris; Rom = Rome; "
    "Madrid; Dresden; Leipzig; Frankfurt; Bremen; Boston; Chicago; Dublin; Prag = Prague; Brüssel = Brussels; New York",
    "country": "Deutschland = Germany; England; Frankreich = France; Italien = Italy; Spanien = Spain; Österreich = Austria; "
    "Polen = Poland; Schweden = Sweden; Irland = Ireland; Griechenland = Greece; Kanada = Canada; Japan",
    "language": "Deutsch = German; Englisch = English; Französisch = French; Spanisch = Spanish; Italienisch = Italian; "
    "Polnisch = Polish",
    "day": "Montag = Monday; Dienstag = Tuesday; Mittwoch = Wednesday; Donnerstag = Thursday; Freitag = Friday; "
    "Samstag = Saturday; Sonntag = Sunday",
    "month": "Januar = January; Februar = February; März = March; April; Mai = May; Juni = June; Juli = July; "
    "August; September; Oktober = October; November; Dezember = December",
    "when": "heute = today; morgen = tomorrow; heute Abend = this evening; morgen früh = tomorrow morning; "
    "am Wochenende = on the weekend; nächste Woche = next week; am {day} = on {day}",
    "past": "gestern = yesterday; letzte Woche = last week; letztes Jahr = last year; am {day} = on {day}; "
    "gestern Abend = last night; heute Morgen = this morning",
    "count": "zwei = two; drei = three; vier = four; fünf = five; sechs = six; sieben = seven; acht = eight; neun = nine; "
    "zehn = ten; elf = eleven; zwölf = twelve",
    "hour": "eins = one; zwei = two; drei = three; vier = four; fünf = five; sechs = six; sieben = seven; acht = eight; "
    "neun = nine; zehn = ten; elf = eleven; zwölf = twelve",
    "clock": "halb zwei = half past one; halb drei = half past two; halb vier = half past three; halb acht = half past seven; "
    "halb neun = half past eight; Viertel nach {hour} = a quarter past {hour}; Viertel vor {hour} = a quarter to {hour}; "
    "{digital} Uhr = {digital}; {digital} Uhr = {digital}; {oclock}",
    "oclock": "ein Uhr = one o'clock; zwei Uhr = two o'clock; drei Uhr = three o'clock; vier Uhr = four o'clock; "
    "fünf Uhr = five o'clock; sechs Uhr = six o'clock; sieben Uhr = seven o'clock; acht Uhr = eight o'clock; "
    "neun Uhr = nine o'clock; zehn Uhr = ten o'clock; elf Uhr = eleven o'clock; zwölf Uhr = twelve o'clock",
    "relative": "Mutter = mother; Schwester = sister; Tante = aunt; Tochter = daughter; Großmutter = grandmother; "
    "Freundin = girlfriend; Frau = wife; Nachbarin = neighbor; Chefin = boss",
    "brother": "Vater = father; Bruder = brother; Onkel = uncle; Sohn = son; Großvater = grandfather; Freund = friend; "
    "Mann = husband; Lehrer = teacher; Arzt = doctor; Kollege = colleague",
    "drink": "Kaffee = coffee; Tee = tea; Wasser = water; Milch = milk; Saft = juice; Bier = beer; Wein = wine",
    "food": "Brot = bread; Käse = cheese; Butter = butter; Reis = rice; Suppe = soup; Salat = salad; Fisch = fish; Fleisch = meat; "
    "Nudeln = noodles; Kuchen = cake; Obst = fruit; Zucker = sugar; Salz = salt; Honig = honey; Schokolade = chocolate",
    "fruits": "Äpfel = apples; Birnen = pears; Bananen = bananas; Orangen = oranges; Zitronen = lemons; Tomaten = tomatoes; "
    "Kartoffeln = potatoes; Zwiebeln = onions; Eier = eggs; Kirschen = cherries; Erdbeeren = strawberries",
    "animals": "Hunde = dogs; Katzen = cats; Pferde = horses; Kühe = cows; Schafe = sheep; Vögel = birds; Fische = fish; "
    "Hühner = chickens; Mäuse = mice; Bienen = bees; Enten = ducks",
    "things": "Bücher = books; Stühle = chairs; Briefe = letters; Bilder = pictures; Flaschen = bottles; Gläser = glasses; "
    "Teller = plates; Schlüssel = keys; Karten = tickets; Fragen = questions; Blumen = flowers; Taschen = bags",
    "der": "Hund = dog; Tisch = table; Stuhl = chair; Schlüssel = key; Garten = garden; Computer = computer; Koffer = suitcase; "
    "Zug = train; Bus = bus; Brief = letter; Schrank = closet; Drucker = printer; Kühlschrank = refrigerator",
    "die": "Katze = cat; Lampe = lamp; Tür = door; Tasche = bag; Uhr = clock; Küche = kitchen; Brücke = bridge; "
    "Zeitung = newspaper; Straße = street; Schule = school; Wohnung = apartment; Flasche = bottle; Heizung = heater",
    "das": "Auto = car; Haus = house; Buch = book; Fenster = window; Zimmer = room; Fahrrad = bicycle; Bild = picture; "
    "Telefon = telephone; Radio = radio; Handy = phone; Hotel = hotel; Restaurant = restaurant; Bett = bed; Museum = museum",
    "to_place": "zum Bahnhof = to the station; zum Flughafen = to the airport; zur Schule = to school; zur Arbeit = to work; "
    "zum Markt = to the market; ins Kino = to the movies; nach Hause = home; in die Stadt = into town; "
    "zum Strand = to the beach; in den Park = to the park; zum Arzt = to the doctor; nach {city} = to {city}",
    "at_place": "im Garten = in the garden; in der Küche = in the kitchen; im Büro = in the office; auf dem Tisch = on the table; "
    "unter dem Bett = under the bed; im Auto = in the car; in der Schule = at school; im Park = in the park; "
    "am Fenster = at the window; im Keller = in the basement; in {city}",
    "color": "rot = red; blau = blue; grün = green; gelb = yellow; schwarz = black; weiß = white; braun = brown; grau = gray; "
    "orange; rosa = pink",
    "quality": "groß = big; klein = small; neu = new; alt = old; teuer = expensive; billig = cheap; schön = beautiful; "
    "kaputt = broken; sauber = clean; schwer = heavy; leer = empty; warm; kalt = cold; laut = loud",
    "feeling": "müde = tired; froh = glad; traurig = sad; krank = sick; gesund = healthy; hungrig = hungry; "
    "zufrieden = satisfied; allein = alone; fertig = done; bereit = ready",
    "weather": "sonnig = sunny; warm; kalt = cold; windig = windy; neblig = foggy; heiß = hot; trocken = dry; nass = wet; "
    "bewölkt = cloudy; kühl = cool",
    "very": "sehr = very; zu = too; ziemlich = quite; nicht = not; wieder = again",
    "job": "Lehrer = a teacher; Arzt = a doctor; Bäcker = a baker; Koch = a cook; Fahrer = a driver; Maler = a painter; "
    "Student = a student; Ingenieur = an engineer; Gärtner = a gardener; Musiker = a musician; Richter = a judge",
    "like": "schwimmen = swim; lesen = read; singen = sing; tanzen = dance; kochen = cook; malen = paint; reisen = travel; "
    "arbeiten = work; schlafen = sleep; laufen = run; lernen = learn; spielen = play",
    "unit": "Minuten = minutes; Stunden = hours; Tage = days; Wochen = weeks; Monate = months; Jahre = years",
    "task": "das Fenster öffnen = open the window; die Tür schließen = close the door; das Auto waschen = wash the car; "
    "die Blumen gießen = water the flowers; {name} anrufen = call {name}; einen Brief schreiben = write a letter; "
    "die Rechnung bezahlen = pay the bill; das Zimmer aufräumen = clean up the room; Brot kaufen = buy bread; "
    "das Essen kochen = cook the meal; die Karten kaufen = buy the tickets; den Computer reparieren = repair the computer; "
    "eine Pause machen = take a break; nach {city} fahren = go to {city}; mit {name} sprechen = talk to {name}",
    "device": "das Licht = the light; das Radio = the radio; die Heizung = the heater; den Fernseher = the television; "
    "die Lampe = the lamp; die Musik = the music; den Computer = the computer; den Drucker = the printer",
    "sport": "Fußball = soccer; Tennis = tennis; Schach = chess; Basketball = basketball; Karten = cards; Klavier = the piano; Gitarre = the guitar",
}
