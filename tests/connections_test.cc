// Goal: a thread is given to a connection only when its request is there; who takes too long, or is
// one too many, is let go; stopping answers what is whole and waits for it. Method: socket pairs,
// and work that blocks until the test says so.
#include "plugin/connections.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>

namespace rw {
namespace {

using std::chrono::milliseconds;

constexpr char kWhole[] = "POST /x HTTP/1.1\r\n\r\n";

void Echo(int fd, const std::string& request) {
  EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
}

// One side of a connection whose other side was added.
class Client {
 public:
  explicit Client(Connections* connections, const std::string& first = "") {
    int pair[2] = {-1, -1};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    fd_ = pair[0];
    Send(first);
    connections->Add(pair[1]);
  }
  ~Client() { close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void Send(const std::string& bytes) const {
    if (!bytes.empty()) send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  std::string Receive() const {
    std::string all;
    char buffer[1000];
    for (ssize_t got; (got = recv(fd_, buffer, sizeof(buffer), 0)) > 0;)
      all.append(buffer, static_cast<size_t>(got));
    return all;
  }
  void End() const { shutdown(fd_, SHUT_WR); }

 private:
  int fd_ = -1;
};

TEST(ConnectionsTest, OneThreadServesManyThatAreSlow) {
  ConnectionsOptions options;
  options.threads = 1;
  Connections connections(Echo, options);
  const Client slow(&connections, "POST"), silent(&connections), quick(&connections, kWhole);
  EXPECT_EQ(quick.Receive(), kWhole);
  slow.Send(" /y HTTP/1.1\r\n\r\n");
  EXPECT_EQ(slow.Receive(), "POST /y HTTP/1.1\r\n\r\n");
}

TEST(ConnectionsTest, WhatEndsEarlyIsPassedOnAndNothingIsNot) {
  Connections connections(Echo, {});
  const Client half(&connections, "POST"), nothing(&connections);
  half.End();
  nothing.End();
  EXPECT_EQ(half.Receive(), "POST");
  EXPECT_EQ(nothing.Receive(), "");
}

TEST(ConnectionsTest, WhoTakesTooLongIsLetGo) {
  ConnectionsOptions options;
  options.patience = milliseconds(20);
  Connections connections(Echo, options);
  const Client half(&connections, "POST"), silent(&connections);
  EXPECT_EQ(half.Receive(), "POST");
  EXPECT_EQ(silent.Receive(), "");
}

TEST(ConnectionsTest, OfTooManyTheOldestIsLetGo) {
  ConnectionsOptions options;
  options.max_gathering = 2;
  Connections connections(Echo, options);
  const Client first(&connections, "1"), second(&connections, "POST"), third(&connections, "POST");
  EXPECT_EQ(first.Receive(), "");
  for (const Client* other : {&second, &third}) {
    other->Send(" /y HTTP/1.1\r\n\r\n");
    EXPECT_EQ(other->Receive(), "POST /y HTTP/1.1\r\n\r\n");
  }
}

TEST(ConnectionsTest, WhatIsAnsweredAtOnceWaitsForNoThread) {
  std::promise<void> may_end;
  const std::shared_future<void> ends = may_end.get_future().share();
  ConnectionsOptions options;
  options.threads = 2;
  options.at_once = [](const std::string& request) { return request.starts_with("POST /now"); };
  Connections connections(
      [ends](int fd, const std::string& request) {
        if (!request.starts_with("POST /now")) ends.wait();
        Echo(fd, request);
      },
      options);
  const Client one(&connections, kWhole), two(&connections, kWhole), three(&connections, kWhole);
  const Client now(&connections, "POST /now HTTP/1.1\r\n\r\n");
  EXPECT_EQ(now.Receive(), "POST /now HTTP/1.1\r\n\r\n");
  may_end.set_value();
  for (const Client* client : {&one, &two, &three}) EXPECT_EQ(client->Receive(), kWhole);
}

TEST(ConnectionsTest, AddWaitsWhileTooManyAreOpen) {
  std::promise<void> may_end;
  const std::shared_future<void> ends = may_end.get_future().share();
  ConnectionsOptions options;
  options.max_open = 2;
  Connections connections(
      [ends](int fd, const std::string& request) {
        ends.wait();
        Echo(fd, request);
      },
      options);
  const Client one(&connections, kWhole), two(&connections, kWhole);
  auto third = std::async(std::launch::async, [&connections] {
    const Client client(&connections, kWhole);
    return client.Receive();
  });
  EXPECT_EQ(third.wait_for(milliseconds(20)), std::future_status::timeout);
  may_end.set_value();
  for (const Client* client : {&one, &two}) EXPECT_EQ(client->Receive(), kWhole);
  EXPECT_EQ(third.get(), kWhole);
}

TEST(ConnectionsTest, StoppingAnswersWhatIsWhole) {
  std::promise<void> may_end;
  const std::shared_future<void> ends = may_end.get_future().share();
  ConnectionsOptions options;
  options.threads = 1;
  Connections connections(
      [ends](int fd, const std::string& request) {
        ends.wait();
        Echo(fd, request);
      },
      options);
  const Client half(&connections, "POST"), one(&connections, kWhole), two(&connections, kWhole);
  auto stopped = std::async(std::launch::async, [&connections] { connections.Stop(); });
  EXPECT_EQ(half.Receive(), "") << "nobody waits for the rest of it";
  EXPECT_EQ(stopped.wait_for(milliseconds(20)), std::future_status::timeout);
  may_end.set_value();
  EXPECT_EQ(one.Receive(), kWhole);
  EXPECT_EQ(two.Receive(), kWhole);
  stopped.get();
  const Client late(&connections, kWhole);
  EXPECT_EQ(late.Receive(), "");
}

}  // namespace
}  // namespace rw
