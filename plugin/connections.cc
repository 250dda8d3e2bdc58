#include "plugin/connections.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace rw {

Connections::Connections(Work work, ConnectionsOptions options)
    : work_(std::move(work)),
      options_(std::move(options)),
      wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  workers_.reserve(options_.threads);
  for (size_t i = 0; i < options_.threads; ++i) workers_.emplace_back([this] { WorkOnJobs(); });
  gatherer_ = std::thread([this] { Gather(); });
}

void Connections::Add(int fd) {
  std::unique_lock lock(mutex_);
  fewer_open_.wait(lock, [this] { return open_ < options_.max_open || stopping_; });
  if (stopping_) {
    close(fd);
    return;
  }
  ++open_;
  added_.push_back(fd);
  lock.unlock();
  eventfd_write(wake_fd_, 1);
}

void Connections::Stop() {
  if (!gatherer_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    fewer_open_.notify_all();
  }
  eventfd_write(wake_fd_, 1);
  gatherer_.join();
  {
    const std::lock_guard lock(mutex_);
    no_more_jobs_ = true;
    more_jobs_.notify_all();
  }
  for (std::thread& worker : workers_) worker.join();
  close(wake_fd_);
}

void Connections::Gather() {
  std::vector<pollfd> waiting;
  for (;;) {
    TakeAdded();
    // Asked before the wait: a call of Stop that comes later wakes it. What is there by now is
    // still received.
    const bool last = TookLast();
    waiting.assign(1, {wake_fd_, POLLIN, 0});
    for (const Gathering& one : gathering_) waiting.push_back({one.fd, POLLIN, 0});
    if (poll(waiting.data(), waiting.size(), last ? 0 : MillisecondsToWait()) < 0) continue;
    eventfd_t ignored = 0;
    eventfd_read(wake_fd_, &ignored);
    const auto now = Clock::now();
    auto one = gathering_.begin();
    for (size_t i = 1; i < waiting.size(); ++i) {
      const bool over = (waiting[i].revents != 0 && Receive(&*one)) || now >= one->until;
      if (over) Pass(&*one);
      one = over ? gathering_.erase(one) : std::next(one);
    }
    if (last) break;
  }
  for (const Gathering& one : gathering_) Close(one.fd);
  gathering_.clear();
}

void Connections::TakeAdded() {
  std::vector<int> added;
  {
    const std::lock_guard lock(mutex_);
    added.swap(added_);
  }
  for (const int fd : added) {
    gathering_.push_back({fd, GatheredRequest(options_.max_body_bytes, options_.is_streamed),
                          Clock::now() + options_.patience});
    // Most have sent everything before they are looked at, and are not to wait for others.
    if (Receive(&gathering_.back())) {
      Pass(&gathering_.back());
      gathering_.pop_back();
    }
    if (gathering_.size() > options_.max_gathering) {
      Close(gathering_.front().fd);
      gathering_.pop_front();
    }
  }
}

bool Connections::TookLast() {
  const std::lock_guard lock(mutex_);
  return stopping_ && added_.empty();
}

int Connections::MillisecondsToWait() const {
  if (gathering_.empty()) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(gathering_.front().until - Clock::now());
  return static_cast<int>(std::max<int64_t>(0, left.count()));
}

bool Connections::Receive(Gathering* gathering) {
  char buffer[16 << 10];
  while (!gathering->request.whole()) {
    const ssize_t got = recv(gathering->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return false;
    if (got <= 0) return true;
    gathering->request.Append({buffer, static_cast<size_t>(got)});
  }
  return true;
}

void Connections::Pass(Gathering* gathering) {
  if (gathering->request.bytes().empty()) {  // somebody only looked whether anybody is there
    Close(gathering->fd);
    return;
  }
  Job job{gathering->fd, gathering->request.Take()};
  if (options_.at_once(job.request)) {
    Do(std::move(job));
    return;
  }
  const std::lock_guard lock(mutex_);
  jobs_.push_back(std::move(job));
  more_jobs_.notify_one();
}

void Connections::WorkOnJobs() {
  for (;;) {
    std::unique_lock lock(mutex_);
    more_jobs_.wait(lock, [this] { return !jobs_.empty() || no_more_jobs_; });
    if (jobs_.empty()) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    Do(std::move(job));
  }
}

void Connections::Do(Job job) {
  work_(job.fd, std::move(job.request));
  Close(job.fd);
}

void Connections::Close(int fd) {
  shutdown(fd, SHUT_RDWR);
  close(fd);
  const std::lock_guard lock(mutex_);
  --open_;
  fewer_open_.notify_one();
}

}  // namespace rw
