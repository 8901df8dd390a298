"""What goes wrong on the way to a server, and the oracle that holds the reports to account.

``proxy`` stands between qframe and the stand-in server and breaks the connections, ``wire`` tells
it where a request begins and ends. ``oracle`` compares a report with what the server holds.
The tests beside them are the named misfortunes; ``schedules`` draws them at random, and
``python -m tests.faults`` and ``python -m tests.faults.soak`` do so for as long as they are told.
"""
