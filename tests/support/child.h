// A process that does a part of a test: this program again, with one disabled test of it, so that
// it shares nothing with its parent but what the two tell each other.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace rw::testing {

// One end of a line between parent and child. Messages arrive whole and in order.
class Messages {
 public:
  explicit Messages(int fd) : fd_(fd) {}
  ~Messages();
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;
  Messages(Messages&& other) noexcept;
  Messages& operator=(Messages&& other) = delete;

  // At most 64 KiB. To a side that is gone it does nothing.
  void Send(const std::string& message);
  // Waits. Nothing once the other side is gone.
  std::optional<std::string> Receive();
  int fd() const { return fd_; }

 private:
  int fd_;
};

class Child {
 public:
  // `test` as in --gtest_filter.
  explicit Child(const std::string& test);
  // Kills it if it is still there.
  ~Child();
  Child(Child&& other) noexcept;

  void Send(const std::string& message) { messages_.Send(message); }
  // Its next message; what begins with "problem" if it has ended without one.
  std::string Receive();
  int fd() const { return messages_.fd(); }

 private:
  Child(pid_t pid, Messages messages) : pid_(pid), messages_(std::move(messages)) {}
  static Child Start(const std::string& test);

  pid_t pid_;
  Messages messages_;
};

// In the child: the line to its parent; nothing if this process is nobody's child.
std::optional<Messages> LineToParent();

}  // namespace rw::testing
