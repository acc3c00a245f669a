// One round of probes: sends them all, then waits for answers until silence means no.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "lab/ports.h"
#include "lab/probe.h"

namespace ocicat::lab {

class ProbeRound {
 public:
  struct Question {
    std::string network_namespace;
    IpAddress target;
    NamedPort port;
  };

  ProbeRound(std::chrono::milliseconds patience, std::uint32_t number)
      : patience_(patience), number_(number) {}

  void add(Question question) { questions_.push_back(std::move(question)); }

  // Moves the calling thread into the namespaces. The answers stand in the order of the questions.
  Result<std::vector<Answer>> run();

 private:
  // Sockets that many questions of one namespace share.
  struct RawSocket {
    UniqueFd fd;
    std::string network_namespace;
    Family family;
    Protocol protocol;
  };
  enum class Role : std::uint8_t { kStream, kDatagram, kRaw };
  struct Watched {
    Role role;
    std::size_t index;  // of a question, or of a raw socket
  };

  Result<void> send_all();  // those not answered yet; called again for a retry
  Result<void> ask(std::size_t index);
  Result<void> ask_by_stream(std::size_t index);
  Result<void> ask_by_datagram(std::size_t index);
  Result<void> ask_by_raw_socket(std::size_t index);
  Result<std::size_t> raw_socket(const Question& question);
  Result<void> watch(int fd, std::uint32_t events, Watched watched);

  Result<void> collect(std::chrono::steady_clock::time_point until);
  void take(int fd, const Watched& watched);
  void take_stream(int fd, std::size_t index);
  void take_datagram(int fd, std::size_t index);
  void take_raw(const RawSocket& raw);
  void take_echo_reply(const RawSocket& raw, std::span<const std::uint8_t> bytes, const IpAddress& sender);
  void take_sctp(const RawSocket& raw, std::span<const std::uint8_t> bytes, const IpAddress& sender);
  void answer(std::size_t index, Answer what);

  std::uint16_t echo_id() const { return static_cast<std::uint16_t>(number_); }
  std::uint16_t source_port() const;

  std::chrono::milliseconds patience_;
  std::uint32_t number_;
  std::uint32_t attempt_ = 0;
  std::vector<Question> questions_;
  std::vector<Answer> answers_;
  std::vector<bool> answered_;
  std::size_t open_questions_ = 0;
  std::chrono::steady_clock::time_point last_answer_{};

  UniqueFd poll_;
  std::vector<UniqueFd> sockets_;  // streams and datagrams
  std::vector<RawSocket> raw_sockets_;
  std::map<int, Watched> watched_;
  std::map<std::size_t, int> datagram_socket_of_;
  // What an SCTP answer tells of its question: who got it, from whom, and from which port.
  std::map<std::tuple<std::string, IpAddress, std::uint16_t>, std::size_t> sctp_questions_;
  std::mt19937 random_{std::random_device{}()};
};

}  // namespace ocicat::lab
