#include "plugin/waiting.h"

#include <chrono>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>

#include "plugin/client.h"
#include "plugin/interruption.h"
#include "plugin/progress_bar.h"

namespace rw {
namespace {

constexpr std::chrono::milliseconds kBetweenLooks{250};
constexpr std::chrono::milliseconds kGlance{20};
constexpr int kPatienceSeconds = 30;
constexpr int kAnswerSeconds = 30 * 86400;

}  // namespace

Waiting::Waiting(std::string what, std::function<State()> look)
    : what_(std::move(what)), look_(std::move(look)) {
  if (ProgressBar::IsTerminal()) thread_ = std::thread([this] { Show(); });
}

Waiting::~Waiting() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  end_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Waiting::Show() {
  ProgressBar bar(what_, ProgressBar::Unit::kThings);
  std::unique_lock lock(mutex_);
  while (!end_.wait_for(lock, kBetweenLooks, [this] { return ended_; })) {
    lock.unlock();
    try {
      const State state = look_ && bar.IsDue() ? look_() : State();
      bar.Show(state.done, state.total, state.step);
    } catch (const std::exception&) {
      return;
    }
    lock.lock();
  }
}

nlohmann::json AskPatiently(const std::filesystem::path& socket, const std::string& endpoint,
                            const nlohmann::json& question, const std::string& volume,
                            const std::string& what) {
  const Waiting waiting(what, ProgressOf(socket, volume));
  std::optional<Interruption> interruption(std::in_place);
  std::future<nlohmann::json> answer = std::async(
      std::launch::async, [&] { return Ask(socket, endpoint, question, kAnswerSeconds); });
  while (answer.wait_for(kGlance) != std::future_status::ready) {
    if (!interruption || !Interruption::Happened()) continue;
    interruption.reset();
    Ask(socket, "Rewind.GiveUp", {{"Name", volume}}, kPatienceSeconds);
  }
  return answer.get();
}

std::function<Waiting::State()> ProgressOf(const std::filesystem::path& socket,
                                           const std::string& volume) {
  return [socket, volume]() -> Waiting::State {
    const bool check = volume.empty();
    const nlohmann::json question =
        check ? nlohmann::json::object() : nlohmann::json{{"Name", volume}};
    const auto answer =
        Ask(socket, check ? "Rewind.CheckProgress" : "Rewind.Progress", question, kPatienceSeconds);
    return {answer.at("Step"), answer.at("Done"), answer.at("Total")};
  };
}

}  // namespace rw
