// nf_tables of this kernel, in the network namespace of the thread that opens it.
#pragma once

#include "kernel/netlink.h"
#include "kernel/nft.h"

namespace ocicat::kernel::nft {

class NetlinkKernel final : public Kernel {
 public:
  static Result<std::unique_ptr<NetlinkKernel>> open(std::string table);
  NetlinkKernel(NetlinkSocket socket, std::string table)
      : socket_(std::move(socket)), table_(std::move(table)) {}

  Result<void> commit(const Batch& batch) override;
  Result<std::optional<Shape>> read_shape() override;
  Result<std::vector<Element>> read_elements(const Set& set) override;
  void let_packets_pass() override;
  // What changes of ours carry, so that a Monitor can tell them from others'.
  std::uint32_t port() const { return socket_.port(); }

 private:
  Result<void> list(std::uint16_t message, std::string_view set,
                    const std::function<void(MessageView)>& visit);

  NetlinkSocket socket_;
  std::string table_;
};

// Hears of others' changes to one table.
class Monitor {
 public:
  static Result<Monitor> open(std::string table, const std::vector<std::uint32_t>& own_ports);

  int fd() const { return socket_.fd(); }
  // Reads what has arrived: whether the table may have been changed by somebody else. Messages that were lost
  // count as such a change. `others` is given every message that tells of another table.
  Result<bool> changed(const std::function<void(MessageView)>& others = {});

 private:
  Monitor(NetlinkSocket socket, std::string table) : socket_(std::move(socket)), table_(std::move(table)) {}

  NetlinkSocket socket_;
  std::string table_;
};

}  // namespace ocicat::kernel::nft
