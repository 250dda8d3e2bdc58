// A command line that is being typed, as far as the description that parses whole ones understands
// it.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace rw {

bool TakesValue(const CLI::Option& option);

// `app` must outlive it.
class TypedLine {
 public:
  // Of the words after the program's name; the last is being typed, and only kept.
  TypedLine(const CLI::App& app, const std::vector<std::string>& words);

  // False if there is no such command; then nothing else says anything.
  bool known() const { return known_; }
  // The command, or `app` itself if none has been typed.
  const CLI::App& command() const { return *command_; }
  bool has_command() const { return command_->get_parent() != nullptr; }
  // After a `--`.
  bool only_positionals() const { return only_positionals_; }
  const std::string& current() const { return current_; }
  // The option whose value is being typed as a word of its own, or null.
  const CLI::Option* open() const { return open_; }
  bool IsGiven(const CLI::Option& option) const;
  const std::vector<std::string>& positionals() const { return positionals_; }
  // What the next of them means, or null if there is to be none.
  const CLI::Option* NextPositional() const;
  // As given; empty if it is not.
  const std::string& socket() const { return socket_; }
  // The keys of what was given as KEY=VALUE, and the volume from which a new one is to be made.
  const std::vector<std::string>& keys() const { return keys_; }
  const std::string& source() const { return source_; }

 private:
  void Take(const std::string& word);
  void TakePositional(const std::string& word);
  void TakeOption(const std::string& word);
  void TakeValue(const CLI::Option& option, const std::string& value);
  void TakeKey(const std::string& text);

  const CLI::App* command_;
  const std::string current_;
  const CLI::Option* open_ = nullptr;
  bool known_ = true;
  bool only_positionals_ = false;
  std::vector<const CLI::Option*> given_;
  std::vector<std::string> positionals_;
  std::vector<std::string> keys_;
  std::string source_;
  std::string socket_;
};

}  // namespace rw
