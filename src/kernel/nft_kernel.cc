#include "kernel/nft_kernel.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <cerrno>
#include <climits>

#include "kernel/nft_messages.h"
#include "kernel/rcu.h"

namespace ocicat::kernel::nft {
namespace {

// A transaction is one send, and a send must fit into the buffer; the kernel halves what it is given.
constexpr int kSendBuffer = INT_MAX / 2;
constexpr int kReceiveBuffer = 16 << 20;
constexpr int kAttempts = 5;

}  // namespace

Result<std::unique_ptr<NetlinkKernel>> NetlinkKernel::open(std::string table) {
  TRY(auto socket, NetlinkSocket::open(NETLINK_NETFILTER));
  TRY_VOID(socket.send_buffer(kSendBuffer));
  TRY_VOID(socket.receive_buffer(kReceiveBuffer));
  return std::make_unique<NetlinkKernel>(std::move(socket), std::move(table));
}

Result<void> NetlinkKernel::commit(const Batch& batch) {
  if (batch.empty()) return {};
  const BatchMessages messages(table_, batch, socket_.next_sequence());
  socket_.sequence_used(messages.last_sequence());
  TRY(const auto acks, socket_.request(messages.bytes()));
  bool done = false;
  for (const auto& ack : acks) {
    if (ack.error_number != 0) {
      auto what = messages.describe(ack.sequence, ack.attribute_offset);
      if (!ack.text.empty()) what += fmt::format(" ({})", ack.text);
      if (ack.error_number == EOPNOTSUPP && what.starts_with("add table"))
        what += ", and this kernel may have none of family inet";
      return fail_errno("nf_tables: " + what, ack.error_number);
    }
    if (ack.sequence == messages.acknowledged_sequence()) done = true;
  }
  if (!done) return fail(ErrorCode::kUnavailable, "nf_tables: the kernel did not answer");
  return {};
}

Result<void> NetlinkKernel::list(std::uint16_t message, std::string_view set,
                                 const std::function<void(MessageView)>& visit) {
  return socket_.query(list_request(message, table_, set, socket_.next_sequence()), visit);
}

Result<std::optional<Shape>> NetlinkKernel::read_shape() {
  Result<void> outcome;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Shape shape;
    outcome = list(NFT_MSG_GETCHAIN, {}, [&](MessageView message) { read_chain(message, table_, shape); });
    if (outcome)
      outcome = list(NFT_MSG_GETSET, {}, [&](MessageView message) { read_set(message, table_, shape); });
    if (outcome)
      outcome = list(NFT_MSG_GETRULE, {}, [&](MessageView message) { read_rule(message, table_, shape); });
    if (outcome) {
      if (shape == Shape{}) return std::nullopt;
      return shape;
    }
    if (outcome.error().code == ErrorCode::kNotFound) return std::nullopt;
    if (outcome.error().code != ErrorCode::kUnavailable) break;
  }
  return within("list table " + table_, outcome.error());
}

Result<std::vector<Element>> NetlinkKernel::read_elements(const Set& set) {
  Result<void> outcome;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::vector<Element> elements;
    outcome = list(NFT_MSG_GETSETELEM, set.name,
                   [&](MessageView message) { nft::read_elements(message, set, elements); });
    if (outcome) return elements;
    if (outcome.error().code != ErrorCode::kUnavailable) break;
  }
  return within("list set " + set.name, outcome.error());
}

void NetlinkKernel::let_packets_pass() {
  wait_for_grace_period();
}

Result<Monitor> Monitor::open(std::string table, const std::vector<std::uint32_t>& own_ports) {
  TRY(auto socket, NetlinkSocket::open(NETLINK_NETFILTER));
  TRY_VOID(socket.receive_buffer(kReceiveBuffer));
  TRY_VOID(socket.ignore_changes_of(own_ports));
  TRY_VOID(socket.join(NFNLGRP_NFTABLES));
  return Monitor(std::move(socket), std::move(table));
}

Result<bool> Monitor::changed(const std::function<void(MessageView)>& others) {
  bool changed = false;
  const auto received = socket_.receive_waiting([&](MessageView message) {
    const bool own = table_of(message) == table_;
    changed |= own;
    if (!own && others) others(message);
  });
  if (!received && received.error().code != ErrorCode::kExhausted) return std::unexpected(received.error());
  return changed || !received;
}

}  // namespace ocicat::kernel::nft
