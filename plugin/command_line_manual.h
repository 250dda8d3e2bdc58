// The manual page rewind(1), made of the description that parses the command line and prints its
// help, and of the tables of settings and volume options.
#pragma once

namespace CLI {
class App;
}

namespace rw {

// Adds the hidden command `man`, which prints the page for man(1).
void AddManual(CLI::App& app);

}  // namespace rw
