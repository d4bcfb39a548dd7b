%% Run inside the server of `skerry lab up --s2s`. The domains of other labs are in no DNS: this one knows where they
%% and all below them are (RFC 2782), at the default port, and nothing else is found.
{ok, Neighbours} = file:consult("neighbours"),
{ok, Socket} = gen_udp:open(0, [binary, {ip, {127,0,0,1}}]),
{ok, Port} = inet:port(Socket),
Places = fun(Name) -> [Address || {Domain, Address} <- Neighbours,
    lists:prefix("_xmpp-server._tcp.", Name), lists:suffix("." ++ Domain, Name)] end,
Serve = fun Again() ->
    receive {udp, Socket, Ip, From, Packet} ->
        {ok, Asked} = inet_dns:decode(Packet),
        [Query] = inet_dns:msg(Asked, qdlist),
        Name = inet_dns:dns_query(Query, domain),
        Found = [inet_dns:make_rr([{domain, Name}, {class, in}, {type, srv}, {ttl, 0},
            {data, {0, 0, 5269, Address}}]) || Address <- Places(string:lowercase(Name))],
        Code = case Found of [] -> 3; _ -> 0 end,
        Header = inet_dns:make_header(inet_dns:msg(Asked, header), [{qr, true}, {ra, true}, {rcode, Code}]),
        Answer = inet_dns:make_msg(Asked, [{header, Header}, {anlist, Found}, {arlist, []}]),
        gen_udp:send(Socket, Ip, From, inet_dns:encode(Answer))
    end,
    Again()
end,
ok = gen_udp:controlling_process(Socket, spawn(Serve)),
inet_db:set_resolv_conf(""),
inet_db:res_option(nameservers, [{{127,0,0,1}, Port}]).
