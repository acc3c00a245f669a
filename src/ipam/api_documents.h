// Documents at a server, over a few connections, so that what is asked for together is on its way together:
// the server then writes it to disk together as well.
#pragma once

#include <memory>

#include "api/client/client.h"
#include "http/client.h"
#include "ipam/documents.h"

namespace ocicat::ipam {

class ApiDocuments : public Documents {
 public:
  // `address` parses. An answer that does not come in time is kUnavailable.
  explicit ApiDocuments(const api::Address& address, http::Timeouts timeouts = {});
  ~ApiDocuments() override;

  using Documents::get;
  Result<std::vector<boost::json::object>> list(Kind kind) override;
  std::vector<Result<boost::json::object>> get(const std::vector<ResourceKey>& keys) override;
  std::vector<Result<boost::json::object>> write(std::vector<Write> writes) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::ipam
