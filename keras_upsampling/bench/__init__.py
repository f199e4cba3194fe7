"""The benchmark: this library beside what else one would use, timed side by side in one run.

A case is one enlargement of one feature map (`cases`), done in several ways (`contenders`), each
compiled as the backend does it (`programs`). All contenders of a case run in turn (`timing`);
tables show the outcome (`report`).
"""
