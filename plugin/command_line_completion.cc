#include "plugin/command_line_completion.h"

#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>

#include "metadata/quoted.h"
#include "plugin/client.h"
#include "plugin/command_line.h"
#include "plugin/command_line_typed.h"
#include "plugin/completion_scripts.h"
#include "plugin/completion_values.h"
#include "plugin/shell_words.h"

namespace rw {
namespace {

enum class Operand {
  kFree,  // whatever it is, it cannot be known
  kVolume,
  kRemovedVolume,
  kMark,
  kTime,
  kVolumeOption,
  kSetting,
  kLevel,
  kFormat,
  kShell,
  kFile,
  kDirectory,
};

struct NamedOperand {
  std::string_view name;
  Operand operand;
};

// What stands behind an option, by the name that the help gives it.
constexpr NamedOperand kOptionOperands[] = {
    {"TIME", Operand::kTime},     {"KEY=VALUE", Operand::kVolumeOption},
    {"PATH", Operand::kFile},     {"FILE", Operand::kFile},
    {"DIR", Operand::kDirectory}, {"LEVEL", Operand::kLevel},
    {"FORMAT", Operand::kFormat}, {"TEXT", Operand::kFree},
    {"GLOB", Operand::kFree},     {"N", Operand::kFree},
    {"UINT", Operand::kFree},     {"INT", Operand::kFree},
    {"BYTES", Operand::kFree},    {"DURATION", Operand::kFree},
    {"SECONDS", Operand::kFree},  {"PROJECT", Operand::kFree},
    {"ADDRESS", Operand::kFree},  {"SCHEDULE", Operand::kFree},
};
// What stands for itself.
constexpr NamedOperand kPositionalOperands[] = {
    {"NAME", Operand::kVolume},
    {"NAME...", Operand::kVolume},
    {"NAME... LABEL", Operand::kVolume},
    {"LABEL", Operand::kMark},
    {"KEY=VALUE", Operand::kSetting},
    {"T1 [T2] [/PATH]", Operand::kTime},
    {"LEVEL", Operand::kLevel},
    {"SHELL", Operand::kShell},
    {"FILE", Operand::kFile},
    {"DIR", Operand::kDirectory},
    {"PATH", Operand::kFree},  // in a volume
};
// Where the same name means something else: the command, then the operand.
constexpr NamedOperand kExceptions[] = {
    {"create NAME", Operand::kFree},
    {"import NAME", Operand::kFree},
    {"purge NAME", Operand::kRemovedVolume},
    {"restore --to", Operand::kFree},
};

template <size_t kSize>
std::optional<Operand> Find(const NamedOperand (&table)[kSize], std::string_view name) {
  for (const NamedOperand& each : table) {
    if (each.name == name) return each.operand;
  }
  return std::nullopt;
}

Operand OperandOf(const CLI::App& command, const CLI::Option& option) {
  const bool positional = option.get_positional();
  const std::string name = option.get_name(positional);
  if (const auto found = Find(kExceptions, command.get_name() + " " + name)) return *found;
  const auto found =
      positional ? Find(kPositionalOperands, name) : Find(kOptionOperands, option.get_type_name());
  // For the tests: shells do not show it.
  if (!found) std::cerr << "rewind: completion does not know what " << name << " means\n";
  return found.value_or(Operand::kFree);
}

struct Answer {
  const char* kind = "values";
  Candidates candidates;
};

std::filesystem::path SocketOf(const TypedLine& typed) {
  const char* variable = getenv("REWIND_SOCKET");
  const bool use_variable = typed.socket().empty() && variable != nullptr;
  return FindSocket(use_variable ? variable : typed.socket());
}

Candidates TimesOf(const TypedLine& typed, const std::string& volume) {
  Candidates times = {{"now", "this moment"}};
  if (volume.empty()) return times;
  Candidates marks = MarkCandidates(SocketOf(typed), volume);
  times.insert(times.begin(), marks.begin(), marks.end());
  return times;
}

// Without those that have been given to a command that takes several.
Candidates OtherVolumes(const TypedLine& typed) {
  Candidates volumes = VolumeCandidates(SocketOf(typed));
  std::erase_if(volumes, [&](const Candidate& each) {
    const auto& given = typed.positionals();
    return std::find(given.begin(), given.end(), each.text) != given.end();
  });
  return volumes;
}

// After the `=` of a volume's option, or the keys before it.
Candidates KeysOrValues(const TypedLine& typed, const std::string& value) {
  const size_t equals = value.find('=');
  if (equals == std::string::npos) return VolumeOptionCandidates(typed.keys());
  const std::string key = value.substr(0, equals);
  Candidates values;
  if (key == "snapshot-of" || key == "clone-of" || key == "rollback") {
    values = VolumeCandidates(SocketOf(typed));
    if (key != "rollback") {
      const Candidates removed = RemovedVolumeCandidates(SocketOf(typed));
      values.insert(values.end(), removed.begin(), removed.end());
    }
  } else if (key == "at") {
    values = TimesOf(typed, typed.source());
  } else if (key == "mount") {
    values = {{"suid", ""}, {"dev", ""}, {"suid,dev", ""}, {"noexec", ""}};
  }
  for (Candidate& each : values) each.text.insert(0, key + "=");
  return values;
}

Candidates ShellCandidates() {
  Candidates shells;
  for (const CompletionScript& script : kCompletionScripts) shells.push_back({script.shell, ""});
  return shells;
}

// `value` is what has been typed of it.
Answer ValuesOf(const TypedLine& typed, const CLI::Option& option, const std::string& value) {
  const std::string volume = typed.positionals().empty() ? "" : typed.positionals().front();
  switch (OperandOf(typed.command(), option)) {
    case Operand::kFree:
      return {};
    case Operand::kVolume:
      return {.candidates = OtherVolumes(typed)};
    case Operand::kRemovedVolume:
      return {.candidates = RemovedVolumeCandidates(SocketOf(typed))};
    case Operand::kMark:
      return {.candidates = MarkCandidates(SocketOf(typed), volume)};
    case Operand::kTime:
      return {.candidates = TimesOf(typed, volume)};
    case Operand::kVolumeOption:
      return {.candidates = KeysOrValues(typed, value)};
    case Operand::kSetting:
      return {.candidates =
                  SettingCandidates(typed.command().get_name() == "retention", typed.keys())};
    case Operand::kLevel:
      return {.candidates = {{"debug", ""}, {"info", ""}, {"warning", ""}, {"error", ""}}};
    case Operand::kFormat:
      return {.candidates = {{"text", ""}, {"json", ""}}};
    case Operand::kShell:
      return {.candidates = ShellCandidates()};
    case Operand::kFile:
      return {.kind = "files", .candidates = {}};
    case Operand::kDirectory:
      return {.kind = "directories", .candidates = {}};
  }
  return {};
}

Candidates CommandsOf(const CLI::App& app) {
  Candidates commands;
  for (const CLI::App* each : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!each->get_group().empty()) commands.push_back({each->get_name(), each->get_description()});
  }
  return commands;
}

Candidates OptionsOf(const TypedLine& typed) {
  Candidates options;
  for (const CLI::Option* option : typed.command().get_options()) {
    if (option->get_positional() || option->get_group().empty()) continue;
    // A list can be given again.
    if (typed.IsGiven(*option) && option->get_items_expected_max() <= 1) continue;
    const auto& long_names = option->get_lnames();
    options.push_back(
        {long_names.empty() ? "-" + option->get_snames().front() : "--" + long_names.front(),
         option->get_description()});
  }
  return options;
}

Answer CompleteTyped(const TypedLine& typed) {
  if (!typed.known()) return {};
  const std::string& current = typed.current();
  if (typed.open() != nullptr) return ValuesOf(typed, *typed.open(), current);
  if (!typed.only_positionals() && current.starts_with("-")) {
    const size_t equals = current.find('=');
    if (equals == std::string::npos) return {.candidates = OptionsOf(typed)};
    const std::string name = current.substr(0, equals);
    const CLI::Option* option = typed.command().get_option_no_throw(name);
    if (option == nullptr || !TakesValue(*option)) return {};
    Answer answer = ValuesOf(typed, *option, current.substr(equals + 1));
    for (Candidate& each : answer.candidates) each.text.insert(0, name + "=");
    return answer;
  }
  if (!typed.has_command()) return {.candidates = CommandsOf(typed.command())};
  if (const CLI::Option* next = typed.NextPositional()) return ValuesOf(typed, *next, current);
  return {.candidates = typed.only_positionals() ? Candidates() : OptionsOf(typed)};
}

// Silent whatever happens: there is a half-typed line on the terminal.
Answer Complete(const CLI::App& app, const std::vector<std::string>& words) {
  Answer answer;
  try {
    answer = CompleteTyped(TypedLine(app, words));
  } catch (const std::exception&) {
    return {};  // no daemon, or none that knows this
  }
  std::erase_if(answer.candidates,
                [&](const Candidate& each) { return !each.text.starts_with(words.back()); });
  return answer;
}

void GiveUp(int) { _exit(kExitDone); }

}  // namespace

void AddCompletionScripts(CLI::App& app) {
  CLI::App* command = app.add_subcommand("completion", "Print a script for a shell's completion");
  command->group("");
  const auto shell = std::make_shared<std::string>();
  command->add_option("SHELL", *shell, kShellNames)->required();
  command->final_callback([shell] {
    for (const CompletionScript& script : kCompletionScripts) {
      if (*shell != script.shell) continue;
      std::cout << script.text;
      return;
    }
    throw CLI::ValidationError("no completion for " + Quoted(*shell) + ": there is " + kShellNames);
  });
}

int RunComplete(const CLI::App& app, const std::vector<std::string>& arguments) {
  const std::string how = arguments.empty() ? "" : arguments.front();
  std::vector<std::string> words(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  const bool is_line = how == "bash" && words.size() == 1;
  if (!is_line && (how != "words" || words.empty())) return kExitUsage;
  signal(SIGALRM, GiveUp);
  // A socket may not even take the question.
  alarm(static_cast<unsigned>(CompletionSeconds()) + 1);
  ShellWords line;
  if (is_line) {
    line = SplitShellLine(words.front());
    words.assign(line.words.begin() + (line.words.size() > 1 ? 1 : 0), line.words.end());
  }
  const Answer answer = Complete(app, words);
  alarm(0);
  std::cout << answer.kind << '\n';
  for (const Candidate& each : answer.candidates) {
    if (is_line) {
      std::cout << CompletedWord(line, each.text) << '\n';
    } else {
      std::cout << each.text << '\t' << each.meaning << '\n';
    }
  }
  std::cout.flush();
  return kExitDone;
}

}  // namespace rw
