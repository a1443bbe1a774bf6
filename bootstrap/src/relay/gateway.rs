//! The network's gateways, as the kernel's routing tables have them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The gateways of the default routes, one a family at most.
pub(super) fn gateways() -> Vec<IpAddr> {
    let v4 = std::fs::read_to_string("/proc/net/route")
        .ok()
        .and_then(|table| parse_v4(&table));
    let v6 = std::fs::read_to_string("/proc/net/ipv6_route")
        .ok()
        .and_then(|table| parse_v6(&table));
    v4.map(IpAddr::V4)
        .into_iter()
        .chain(v6.map(IpAddr::V6))
        .collect()
}

/// The address that this machine has on the network of `gateway`. Nothing is sent.
pub(super) fn own_address_towards(gateway: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if gateway.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(SocketAddr::new(gateway, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// `/proc/net/route`: interface, destination, gateway, …; addresses in the byte order of the machine.
fn parse_v4(table: &str) -> Option<Ipv4Addr> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (destination, gateway) = (columns.next()?, columns.next()?);
        let address = u32::from_str_radix(gateway, 16).ok()?;
        (destination == "00000000" && address != 0).then(|| Ipv4Addr::from(address.to_ne_bytes()))
    })
}

/// `/proc/net/ipv6_route`: destination, its prefix, source, its prefix, next hop, …; in network order.
fn parse_v6(table: &str) -> Option<Ipv6Addr> {
    table.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let address = Ipv6Addr::from(u128::from_str_radix(columns.get(4)?, 16).ok()?);
        let is_default = columns.first()?.bytes().all(|b| b == b'0') && *columns.get(1)? == "00";
        // A link-local gateway is known on its link only, and never the source of a published port's connections.
        (is_default && !address.is_unspecified() && !address.is_unicast_link_local())
            .then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_default_route_of_each_family() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                  eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\n\
                  eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\n";
        assert_eq!(parse_v4(v4), Some(Ipv4Addr::new(172, 18, 0, 1)));
        let v6 = "fc00f853ccd0e7930000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n\
                  00000000000000000000000000000000 00 00000000000000000000000000000000 00 fc00f853ccd0e7930000000000000001 00000400 00000001 00000000 00000003 eth0\n\
                  00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo\n";
        assert_eq!(
            parse_v6(v6),
            Some("fc00:f853:ccd0:e793::1".parse().unwrap())
        );
    }

    #[test]
    fn tables_without_a_gateway() {
        assert_eq!(parse_v4("Iface\tDestination\tGateway\n"), None);
        assert_eq!(
            parse_v4("Iface\tDestination\tGateway\nlo\t00000000\t00000000\n"),
            None
        );
        assert_eq!(parse_v6("garbage\n\n"), None);
        let link_local = format!(
            "{0} 00 {0} 00 fe800000000000000000000000000001 0 0 0 0 eth0\n",
            "0".repeat(32)
        );
        assert_eq!(parse_v6(&link_local), None);
    }
}
