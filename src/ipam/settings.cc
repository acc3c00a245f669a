#include "ipam/settings.h"

#include <algorithm>

#include "resources/decode.h"

namespace ocicat::ipam {

Result<IpamConfiguration> read_configuration(Documents& documents) {
  const auto document = documents.get(ipam_configuration_key());
  if (document) return decode_ipam_configuration(*document);
  if (document.error().code == ErrorCode::kNotFound) return IpamConfiguration{};
  return std::unexpected(document.error());
}

Result<Settings> read_settings(Documents& documents) {
  Settings settings;
  TRY(const auto pools, documents.list(Kind::kIpPool));
  for (const auto& document : pools) {
    auto pool = decode(Kind::kIpPool, document);
    if (pool) settings.pools.push_back(std::get<IpPool>(*std::move(pool)));
  }
  std::ranges::sort(settings.pools, {}, [](const auto& pool) { return pool.metadata.name; });
  TRY(const auto listed, documents.list(Kind::kIpReservation));
  std::vector<IpReservation> reservations;
  for (const auto& document : listed) {
    TRY(auto reservation, decode_reservation(document));
    reservations.push_back(std::move(reservation));
  }
  settings.reservations = network::Reservations(reservations);
  TRY(settings.configuration, read_configuration(documents));
  return settings;
}

}  // namespace ocicat::ipam
