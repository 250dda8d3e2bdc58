// Goal: an engine that answers badly, late or never is an error in words, within the time limit.
// Method: something that listens on a Unix socket and does what no real engine does when asked to.
#include "plugin/engine_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <thread>

#include "metadata/refused.h"
#include "plugin/container_names.h"
#include "plugin/timeout_text.h"
#include "plugin/unix_socket.h"
#include "tests/support/temp_dir.h"

namespace rw {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

// Answers each connection's first request with what `answer` makes of its first line, byte by byte
// if asked to, and closes it; keeps it open without a word if that is "hang".
class StrangeEngine {
 public:
  explicit StrangeEngine(std::function<std::string(const std::string& line)> answer)
      : socket_(directory_.path() / "docker.sock"), answer_(std::move(answer)) {
    listener_ = ListenOn(socket_);
    thread_ = std::thread([this] { Serve(); });
  }
  ~StrangeEngine() {
    stopping_ = true;
    thread_.join();
    close(listener_);
    for (const int fd : hanging_) close(fd);
  }
  StrangeEngine(const StrangeEngine&) = delete;
  StrangeEngine& operator=(const StrangeEngine&) = delete;

  const std::filesystem::path& socket() const { return socket_; }

 private:
  void Serve() {
    while (!stopping_) {
      pollfd waiting{listener_, POLLIN, 0};
      if (poll(&waiting, 1, 20) <= 0) continue;
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd >= 0) AnswerTo(fd);
    }
  }
  void AnswerTo(int fd) {
    std::string request;
    char c = 0;
    while (!request.ends_with("\r\n\r\n") && recv(fd, &c, 1, 0) == 1) request += c;
    const std::string answer = answer_(request.substr(0, request.find("\r\n")));
    if (answer == "hang") {
      hanging_.push_back(fd);
      return;
    }
    for (const char byte : answer) {
      if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1) break;
    }
    shutdown(fd, SHUT_WR);
    while (recv(fd, &c, 1, 0) == 1) {  // the request's body; it is lost if the socket is closed now
    }
    close(fd);
  }

  testing::TempDir directory_;
  const std::filesystem::path socket_;
  const std::function<std::string(const std::string&)> answer_;
  int listener_ = -1;
  std::vector<int> hanging_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

std::string Json200(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

Container Named(const std::string& name) {
  Container container;
  container.id = container.name = name;
  return container;
}

// What is refused, and with which errno.
template <typename Fn>
std::string RefusalOf(int error, Fn fn) {
  try {
    fn();
  } catch (const Refused& refused) {
    EXPECT_EQ(refused.error(), error) << refused.what();
    return refused.what();
  }
  ADD_FAILURE() << "it was not refused";
  return "";
}

TEST(EngineApiTest, ACommandsOutputIsPutTogetherFromFrames) {
  const std::string head_one("\1\0\0\0\0\0\0\4", 8), head_two("\2\0\0\0\0\0\1\0", 8);
  const StrangeEngine engine([&](const std::string& line) -> std::string {
    if (line.starts_with("POST /containers/c/exec")) return Json200(R"({"Id":"e"})");
    if (line.starts_with("POST /exec/e/start")) {
      return "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n" +
             head_one + "out\n" + head_two + std::string(256, 'x') + head_one + "end\n";
    }
    return Json200(R"({"Running":false,"ExitCode":7})");
  });
  const ExecResult result =
      EngineApi(engine.socket()).Exec(Named("c"), "command", After(milliseconds(60000)), false);
  EXPECT_EQ(result.exit_code, 7);
  EXPECT_EQ(result.output, "out\n" + std::string(256, 'x') + "end\n");
}

TEST(EngineApiTest, NamesOfContainersAreTheirOwn) {
  std::atomic<int> asked = 0;
  const StrangeEngine engine([&](const std::string& line) -> std::string {
    EXPECT_EQ(line, "GET /containers/json?all=1 HTTP/1.1");
    ++asked;
    return Json200(R"([{"Id":"1","Names":["/web/alias","/db"]},{"Id":"2","Names":["/web"]},)"
                   R"({"Id":"3","Names":null},{"Id":"4"},5])");
  });
  ContainerNames names(engine.socket());
  EXPECT_EQ(names.Find("1"), "db");
  EXPECT_EQ(names.Find("2"), "web");
  EXPECT_EQ(names.Find("3"), std::nullopt);
  EXPECT_EQ(names.Find("9"), std::nullopt);
  EXPECT_EQ(asked.load(), 1) << "once for all of them";
}

TEST(EngineApiTest, WithoutAnEngineThereAreNoNames) {
  const testing::TempDir directory;
  ContainerNames absent(directory.path() / "docker.sock");
  EXPECT_EQ(absent.Find("1"), std::nullopt);
  EXPECT_EQ(ContainerNames("tcp://far.away:2375").Find("1"), std::nullopt);
  for (const char* const answer : {"<html>", "{}", "[[]]"}) {
    const StrangeEngine engine([&](const std::string&) { return Json200(answer); });
    EXPECT_EQ(ContainerNames(engine.socket()).Find("1"), std::nullopt) << answer;
  }
  // One that says nothing is not waited for, if nobody has named it.
  const StrangeEngine engine([](const std::string&) { return "hang"; });
  ASSERT_EQ(setenv("DOCKER_HOST", ("unix://" + engine.socket().string()).c_str(), 1), 0);
  EXPECT_EQ(ContainerNames("").Find("1"), std::nullopt);
  ASSERT_EQ(unsetenv("DOCKER_HOST"), 0);
}

TEST(EngineApiTest, NoAnswerIsGivenUp) {
  const StrangeEngine engine([](const std::string&) { return "hang"; });
  EXPECT_THAT(RefusalOf(ETIMEDOUT,
                        [&] {
                          EngineApi(engine.socket())
                              .Exec(Named("db"), "command", After(milliseconds(200)), false);
                        }),
              HasSubstr("took too long to run a command in db"));
}

TEST(EngineApiTest, ACommandThatClosedItsOutputAndGoesOnIsGivenUp) {
  const StrangeEngine engine([&](const std::string& line) -> std::string {
    if (line.starts_with("POST /containers/")) return Json200(R"({"Id":"e"})");
    if (line.starts_with("POST /exec/")) return "HTTP/1.1 200 OK\r\n\r\n";
    return Json200(R"({"Running":true})");
  });
  RefusalOf(ETIMEDOUT, [&] {
    EngineApi(engine.socket()).Exec(Named("db"), "command", After(milliseconds(200)), false);
  });
}

TEST(EngineApiTest, WhatIsNoEngineIsSaidToBeNone) {
  const std::string page = "<html>hello</html>";
  for (const char* status : {"200 OK", "404 Not Found", "500 Oh"}) {
    const StrangeEngine engine([&](const std::string&) {
      return "HTTP/1.1 " + std::string(status) +
             "\r\nContent-Length: " + std::to_string(page.size()) + "\r\n\r\n" + page;
    });
    EXPECT_THAT(RefusalOf(EPROTO, [&] { EngineApi(engine.socket()).Inspect("c"); }),
                HasSubstr("no Docker engine"))
        << status;
  }
}

TEST(EngineApiTest, AnAnswerThatBreaksOffIsAnError) {
  for (const char* answer : {"", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Id\":"}) {
    const StrangeEngine engine([&](const std::string&) { return answer; });
    EXPECT_THAT(RefusalOf(EIO, [&] { EngineApi(engine.socket()).Inspect("c"); }),
                HasSubstr("broke off"));
  }
}

TEST(EngineApiTest, RefusalsAreOneReadableLine) {
  const StrangeEngine engine([&](const std::string&) {
    const std::string body = R"({"message":"first\nsecond\u0007 \u00e9"})";
    return "HTTP/1.1 409 Conflict\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
           body;
  });
  EXPECT_EQ(RefusalOf(EREMOTEIO, [&] { EngineApi(engine.socket()).Stop(Named("db"), 1); }),
            "the Docker engine refuses to stop db: first second  é");
}

TEST(EngineApiTest, OnlyThisMachinesEngineIsAsked) {
  ASSERT_EQ(unsetenv("DOCKER_HOST"), 0);
  EXPECT_EQ(FindEngineSocket(""), "/var/run/docker.sock");
  EXPECT_EQ(FindEngineSocket("/a/b"), "/a/b");
  ASSERT_EQ(setenv("DOCKER_HOST", "unix:///c/d", 1), 0);
  EXPECT_EQ(FindEngineSocket(""), "/c/d");
  EXPECT_EQ(FindEngineSocket("unix:///a/b"), "/a/b");
  for (const char* host : {"tcp://127.0.0.1:2375", "ssh://host", "fd://", "docker.sock"}) {
    ASSERT_EQ(setenv("DOCKER_HOST", host, 1), 0);
    EXPECT_THAT(RefusalOf(EINVAL, [] { FindEngineSocket(""); }), HasSubstr(host));
  }
  ASSERT_EQ(unsetenv("DOCKER_HOST"), 0);
}

TEST(EngineApiTest, TimeoutsAreSecondsOrDurations) {
  EXPECT_EQ(ParseTimeout("30").count(), 30);
  EXPECT_EQ(ParseTimeout("30s").count(), 30);
  EXPECT_EQ(ParseTimeout("2m").count(), 120);
  for (const char* text : {"", "0", "-1", "soon", "1ms", "2d", "1.5"})
    RefusalOf(EINVAL, [&] { ParseTimeout(text); });
}

}  // namespace
}  // namespace rw
