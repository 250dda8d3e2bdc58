// Completion of the command line for shells, from the same description that parses it.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace rw {

// Adds the hidden command `completion SHELL`, which prints a shell's script.
void AddCompletionScripts(CLI::App& app);

// What those scripts run: `complete words WORD...`, the last of which is being typed, prints
// `values` and then a candidate a line, with its meaning after a tab, or `files` or `directories`;
// `complete bash LINE` prints the same as bash takes it. Not parsed by `app` itself, which would
// take options among the words for its own. Returns the exit code.
int RunComplete(const CLI::App& app, const std::vector<std::string>& arguments);

}  // namespace rw
