#include "plugin/command_line_manual.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <string>

#include "metadata/time_text.h"
#include "plugin/command_line.h"
#include "plugin/options.h"
#include "plugin/roff.h"
#include "plugin/settings.h"

namespace rw {
namespace {

// A whole sentence of what the help says without its end.
std::string Sentence(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z')
    text[0] = static_cast<char>(text[0] - 'a' + 'A');
  if (!text.empty() && !text.ends_with(".")) text += ".";
  return text;
}

// `NAME [KEY=VALUE...]`
std::string Usage(const CLI::App& command) {
  std::string usage = "rewind " + command.get_name();
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_positional()) continue;
    std::string name = option->get_name(true);
    const bool says_itself = name.find("...") != std::string::npos || name.find('[') < name.size();
    if (option->get_items_expected_max() > 1 && !says_itself) name += "...";
    usage += option->get_required() ? " " + name : " [" + name + "]";
  }
  return usage;
}

// `-o, --output`
std::string NamesOf(const CLI::Option& option) {
  std::string names;
  for (const std::string& name : option.get_snames()) names += (names.empty() ? "-" : ", -") + name;
  for (const std::string& name : option.get_lnames())
    names += (names.empty() ? "--" : ", --") + name;
  return names;
}

// Of every command, so explained once.
bool IsCommon(const CLI::Option& option) {
  return option.check_lname("help") || option.check_lname("socket");
}

void AddOption(ManualPage& page, const CLI::Option& option) {
  std::string text = Sentence(option.get_description());
  if (!option.get_default_str().empty()) text += " Default: " + option.get_default_str() + ".";
  if (!option.get_envname().empty()) text += " Otherwise from " + option.get_envname() + ".";
  if (option.get_positional()) {
    page.Item("", option.get_name(true), text);
  } else {
    page.Item(NamesOf(option), option.get_type_size_max() > 0 ? option.get_type_name() : "", text);
  }
}

void AddCommand(ManualPage& page, const CLI::App& command) {
  page.Subsection(Usage(command));
  page.Paragraph(Sentence(command.get_description()));
  const bool is_daemon = command.get_name() == "serve";
  for (const CLI::Option* option : command.get_options()) {
    const bool is_shown = is_daemon ? !option->check_lname("help") : !IsCommon(*option);
    if (is_shown) AddOption(page, *option);
  }
}

void AddVolumeOptions(ManualPage& page) {
  page.Section("VOLUME OPTIONS");
  page.Paragraph("For rewind create -o, and for docker volume create -d rewind -o.");
  for (const VolumeOption& option : VolumeOptions()) {
    const bool has_argument = *option.argument != 0;
    page.Item(std::string(option.name) + (has_argument ? "=" : ""), option.argument,
              Sentence(option.meaning));
  }
}

void AddEnvironment(ManualPage& page) {
  page.Section("ENVIRONMENT");
  for (const Setting& setting : kSettings) {
    const bool is_socket = setting.value == &ServeSettings::socket;
    page.Item(setting.environment, "",
              is_socket ? "The daemon's socket, of rewind serve and of all commands. Default: the "
                          "managed plugin's if it is enabled, else " +
                              std::string(kDefaultSocket) + "."
                        : std::string("Of rewind serve: as ") + setting.flag + ".");
  }
  page.Item("DOCKER_HOST", "",
            "The Docker engine's socket, of commands that ask it, as unix://PATH.");
  page.Item("REWIND_COMPLETION_SECONDS", "",
            "How long a shell's completion waits for the daemon. Default: 1.");
}

void AddFiles(ManualPage& page) {
  page.Section("FILES");
  page.Item(kDefaultRoot, "",
            "Volumes and their history. Nothing but rewind may change what is in it.");
  page.Item(kDefaultSocket, "",
            "The socket of rewind serve. Of a managed plugin: in a directory "
            "beside it that has the plugin's id.");
  page.Item(kDefaultMounts, "", "Where volumes are mounted for containers.");
  page.Item("/etc/default/rewind", "",
            "Variables of the environment for the service rewind, a line each.");
}

void AddExitStatus(ManualPage& page) {
  page.Section("EXIT STATUS");
  page.Item(std::to_string(kExitDone), "", "Done.");
  page.Item(std::to_string(kExitRefused), "",
            "Refused or failed, with one line on standard error. Of check: something is hurt; of "
            "health: not all is well.");
  page.Item(std::to_string(kExitUsage), "",
            "The command line was wrong. Of check and health: could not look.");
}

void AddExamples(ManualPage& page) {
  page.Section("EXAMPLES");
  page.Paragraph("Somebody deleted the orders between two and three o'clock:");
  page.Example(
      "rewind timeline pgdata --since 2h\n"
      "docker volume create -d rewind -o clone-of=pgdata -o at=90m pgdata-look\n"
      "rewind rollback pgdata --at 90m --restart");
  page.Paragraph("A file is lost:");
  page.Example(
      "rewind find shop --deleted --since 3h\n"
      "rewind restore shop /data/orders.csv --at 3h");
}

std::string ManualText(const CLI::App& app) {
  ManualPage page("REWIND", std::string("rewind ") + REWIND_VERSION, "Docker volumes");
  page.Section("NAME");
  // man(1) finds the page by this line.
  page.Paragraph("rewind - Docker volumes that remember every write");
  page.Section("SYNOPSIS");
  page.Paragraph("rewind COMMAND [OPTION...] [ARGUMENT...]");
  page.Section("DESCRIPTION");
  page.Paragraph(
      "rewind is a volume plugin for Docker. A volume can be looked at as it was at any instant of "
      "the last day, or for as long as it was made to keep; it can be copied as it was then, and "
      "put back. The command is both the daemon and what asks it, through its socket.");
  page.Paragraph("These options are those of every command:");
  page.Item("-h, --help", "", "Print what the command does, and its options.");
  page.Item("--socket", "PATH", "The daemon's socket. Default: it is found.");
  page.Section("COMMANDS");
  for (const CLI::App* each : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!each->get_group().empty()) AddCommand(page, *each);
  }
  AddVolumeOptions(page);
  page.Section("TIMES");
  page.Paragraph("TIME is " + std::string(kTimeSyntax) +
                 "; or the name of a mark. Durations have the units w d h m s ms us ns, from large "
                 "to small, each at most once. Every time that is printed is accepted back and "
                 "means exactly that instant.");
  AddEnvironment(page);
  AddFiles(page);
  AddExitStatus(page);
  AddExamples(page);
  page.Section("SEE ALSO");
  page.Paragraph("docker-volume-create(1), docker-plugin(1)");
  return page.text();
}

}  // namespace

void AddManual(CLI::App& app) {
  CLI::App* command = app.add_subcommand("man", "Print the manual page, for man");
  command->group("");
  command->final_callback([&app] { std::cout << ManualText(app); });
}

}  // namespace rw
