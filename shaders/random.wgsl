// Random numbers by Philox 4x32-10.
