#include "fs/session_threads.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace rw {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kRestAfter{5000};
// Ignored by default; the handler only interrupts a call that blocks.
constexpr int kWakeSignal = SIGURG;

void InstallWakeHandler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(kWakeSignal, &action, nullptr);
  });
}

}  // namespace

milliseconds RestAfter() {
  const char* const text = std::getenv("REWIND_REST_AFTER_MS");
  return text == nullptr ? kRestAfter : milliseconds(std::strtoul(text, nullptr, 10));
}

SessionThreads::SessionThreads(size_t most, std::function<void(size_t number)> serve)
    : most_(most), serve_(std::move(serve)), next_look_(steady_clock::now() + rest_after_) {
  InstallWakeHandler();
}

void SessionThreads::Add() {
  const std::lock_guard lock(mutex_);
  if (off_ > 0) {
    --off_;
    ++calls_;
    ++idle_;
    called_.notify_one();
    return;
  }
  if (threads_.size() >= most_ || no_more_) return;
  ++idle_;
  try {
    threads_.emplace_back([this, number = threads_.size()] { Run(number); });
  } catch (const std::system_error&) {
    --idle_;
    if (threads_.empty()) throw;
  }
}

void SessionThreads::StartNoMore() {
  const std::lock_guard lock(mutex_);
  no_more_ = true;
}

void SessionThreads::Run(size_t number) {
  serve_(number);
  --idle_;
  const std::lock_guard lock(mutex_);
  ending_ = true;
  called_.notify_all();
  ++ended_;
}

void SessionThreads::Look(const std::function<bool(size_t number)>& waits) {
  const std::lock_guard lock(mutex_);
  const auto now = steady_clock::now();
  if (now < next_look_) return;
  next_look_ = now + rest_after_;
  const int least = least_idle_.exchange(kAll, std::memory_order_relaxed);
  if (watching_ || ending_) return;
  if (least != kAll && rest_after_ > milliseconds(0)) {
    // They take turns in waiting, so as many will come by. One more than was needed stays.
    to_rest_.store(std::max(0, least - 1), std::memory_order_relaxed);
    return;
  }
  to_rest_.store(kAll, std::memory_order_relaxed);
  size_t number = 0;
  for (std::thread& thread : threads_) {
    if (waits(number++)) pthread_kill(thread.native_handle(), kWakeSignal);
  }
}

SessionThreads::Rest SessionThreads::BeginRest() {
  const std::lock_guard lock(mutex_);
  const int to_rest = to_rest_.load(std::memory_order_relaxed);
  if (to_rest <= 0 || ending_) return Rest::kNone;
  int idle = idle_.load();
  while (idle > 1) {
    if (!idle_.compare_exchange_weak(idle, idle - 1)) continue;
    if (to_rest != kAll) to_rest_.store(to_rest - 1, std::memory_order_relaxed);
    ++off_;
    return Rest::kOff;
  }
  // Who watches while others wait in read() would be woken for each of their requests.
  if (to_rest == kAll && off_ + 1 == threads_.size()) {
    watching_ = true;
    return Rest::kWatch;
  }
  to_rest_.store(0, std::memory_order_relaxed);  // they are needed
  return Rest::kNone;
}

void SessionThreads::WaitUntilCalled() {
  std::unique_lock lock(mutex_);
  called_.wait(lock, [this] { return calls_ > 0 || ending_; });
  if (calls_ > 0) {
    --calls_;
  } else {
    --off_;
    ++idle_;
  }
}

void SessionThreads::EndWatch() {
  const std::lock_guard lock(mutex_);
  watching_ = false;
}

void SessionThreads::Wake() {
  const std::lock_guard lock(mutex_);
  ending_ = true;
  called_.notify_all();
  for (std::thread& thread : threads_) pthread_kill(thread.native_handle(), kWakeSignal);
}

bool SessionThreads::all_have_ended() const {
  const std::lock_guard lock(mutex_);
  return ended_ == threads_.size();
}

void SessionThreads::Join() {
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace rw
