#include "plugin/command_line_typed.h"

#include <algorithm>

namespace rw {

bool TakesValue(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

TypedLine::TypedLine(const CLI::App& app, const std::vector<std::string>& words)
    : command_(&app), current_(words.back()) {
  for (size_t i = 0; i + 1 < words.size() && known_; ++i) Take(words[i]);
}

bool TypedLine::IsGiven(const CLI::Option& option) const {
  return std::find(given_.begin(), given_.end(), &option) != given_.end();
}

const CLI::Option* TypedLine::NextPositional() const {
  size_t taken = positionals_.size();
  for (const CLI::Option* option : command_->get_options()) {
    if (!option->get_positional()) continue;
    const auto most = static_cast<size_t>(option->get_items_expected_max());
    if (taken < most) return option;
    taken -= most;
  }
  return nullptr;
}

void TypedLine::Take(const std::string& word) {
  if (open_ != nullptr) {
    TakeValue(*open_, word);
    open_ = nullptr;
  } else if (only_positionals_ || word.size() < 2 || word[0] != '-') {
    TakePositional(word);
  } else if (word == "--") {
    only_positionals_ = true;
  } else {
    TakeOption(word);
  }
}

void TypedLine::TakePositional(const std::string& word) {
  if (has_command()) {
    positionals_.push_back(word);
    TakeKey(word);
    return;
  }
  const auto named =
      command_->get_subcommands([&](const CLI::App* each) { return each->get_name() == word; });
  known_ = !named.empty();
  if (known_) command_ = named.front();
}

void TypedLine::TakeOption(const std::string& word) {
  // `--long`, `--long=value`, `-o` or `-ovalue`.
  const bool is_long = word[1] == '-';
  const size_t end = is_long ? std::min(word.find('='), word.size()) : 2;
  const CLI::Option* option = command_->get_option_no_throw(word.substr(0, end));
  if (option == nullptr) return;
  given_.push_back(option);
  if (!TakesValue(*option)) return;
  if (end == word.size()) {
    open_ = option;
  } else {
    TakeValue(*option, word.substr(end + (is_long ? 1 : 0)));
  }
}

void TypedLine::TakeValue(const CLI::Option& option, const std::string& value) {
  if (option.check_lname("socket")) socket_ = value;
  TakeKey(value);
}

void TypedLine::TakeKey(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) return;
  keys_.push_back(text.substr(0, equals));
  for (const char* key : {"snapshot-of", "clone-of", "rollback"}) {
    if (keys_.back() == key) source_ = text.substr(equals + 1);
  }
}

}  // namespace rw
