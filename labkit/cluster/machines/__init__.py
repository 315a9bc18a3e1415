"""Ways to run the parts of a lab: what exists, starting it and ending it.

base        the protocol of every machine
processes   processes of this machine
lab         what follows for a lab from being such processes
containers  the containers of one Compose project
docker      the Docker engine, through its SDK
compose     the Compose project: `docker compose` of one lab
programs    server programs: out of PyPI wheels, or newer ones from PATH
reach       where the servers of root's lab may go: their folder and their programs
"""
