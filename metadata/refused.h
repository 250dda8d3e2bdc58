// How a request is refused: an errno for programs and one line for people.
#pragma once

#include <string>
#include <system_error>

namespace rw {

// Thrown when something asked for is not done. Nothing has changed when it is thrown.
// `what()` is one line that says what was refused, why, and what is accepted; `code()` is the
// errno.
class Refused : public std::system_error {
 public:
  Refused(int error, std::string message)
      : std::system_error(error, std::generic_category()), message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  int error() const noexcept { return code().value(); }

 private:
  std::string message_;
};

// Nobody needs to try again: nothing that could be waited for would change it.
class RefusedForGood : public Refused {
 public:
  using Refused::Refused;
};

// ENOSPC, because a volume holds as much as it was made to hold.
class SizeUsedUp : public RefusedForGood {
 public:
  using RefusedForGood::RefusedForGood;
};

}  // namespace rw
