// What people see while a command waits for something: after a second, on a terminal, what it is
// and how far it has come. Without a terminal, nothing.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <thread>

namespace rw {

class Waiting {
 public:
  struct State {
    std::string step;  // empty: not known
    uint64_t done = 0, total = 0;
  };
  // Until it goes. `look` is asked now and then, from another thread; what it throws ends the
  // showing. Without it, only the time is shown.
  explicit Waiting(std::string what, std::function<State()> look = {});
  ~Waiting();
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  void Show();

  const std::string what_;
  const std::function<State()> look_;
  std::mutex mutex_;  // guards ended_
  std::condition_variable end_;
  bool ended_ = false;
  std::thread thread_;
};

// Asks for something long of a volume (of no volume: for a check), and shows how far it is. If the
// command is interrupted meanwhile, the daemon is told that nobody wants it any more, and its
// answer says what became of it; interrupted again, the command ends where it is. As Ask besides.
nlohmann::json AskPatiently(const std::filesystem::path& socket, const std::string& endpoint,
                            const nlohmann::json& question, const std::string& volume,
                            const std::string& what);

// How far the daemon is with what it restores or forgets of a volume, for a Waiting.
std::function<Waiting::State()> ProgressOf(const std::filesystem::path& socket,
                                           const std::string& volume);

}  // namespace rw
