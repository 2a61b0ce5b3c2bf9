BEGIN TRANSACTION;
CREATE TABLE accounts (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	administrator BOOLEAN NOT NULL, 
	service BOOLEAN NOT NULL, 
	created_at BIGINT NOT NULL, 
	disabled_at BIGINT, 
	PRIMARY KEY (id), 
	CONSTRAINT accounts_name_unique UNIQUE (name)
);
INSERT INTO "accounts" VALUES(1,'alice',1,0,1702382400000000,NULL);
INSERT INTO "accounts" VALUES(2,'bob',0,0,1702382400000000,NULL);
INSERT INTO "accounts" VALUES(3,'build',0,1,1702382400000000,NULL);
INSERT INTO "accounts" VALUES(4,'mallory',0,0,1702382400000000,1735214400000000);
INSERT INTO "accounts" VALUES(5,'carol',0,0,1702382400000000,NULL);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE audit (
	id INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	event TEXT NOT NULL, 
	account TEXT, 
	token TEXT, 
	repository TEXT, 
	address TEXT, 
	request TEXT, 
	details JSON NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "audit" VALUES(1,1702382400000000,'account_added','alice',NULL,NULL,NULL,NULL,'{"by": "root (command line)", "administrator": true, "service": false}');
INSERT INTO "audit" VALUES(2,1702382400000000,'account_added','bob',NULL,NULL,NULL,NULL,'{"by": "root (command line)", "administrator": false, "service": false}');
INSERT INTO "audit" VALUES(3,1702382400000000,'account_added','build',NULL,NULL,NULL,NULL,'{"by": "root (command line)", "administrator": false, "service": true}');
INSERT INTO "audit" VALUES(4,1702382400000000,'account_added','mallory',NULL,NULL,NULL,NULL,'{"by": "root (command line)", "administrator": false, "service": false}');
INSERT INTO "audit" VALUES(5,1702382400000000,'account_added','carol',NULL,NULL,NULL,NULL,'{"by": "root (command line)", "administrator": false, "service": false}');
INSERT INTO "audit" VALUES(6,1702382400000000,'account_disabled','carol',NULL,NULL,NULL,NULL,'{"by": "root (command line)"}');
INSERT INTO "audit" VALUES(7,1711022400000000,'token_created','alice','gosan-rupop',NULL,NULL,NULL,'{"name": "laptop", "scopes": ["code:write"], "addresses": null, "not_before": null, "expires_at": null, "by": "root (command line)"}');
INSERT INTO "audit" VALUES(8,1711886400000000,'token_created','bob','rolid-ramos',NULL,NULL,NULL,'{"name": "reader", "scopes": ["code:read"], "addresses": ["127.0.0.0/8", "::1/128"], "not_before": null, "expires_at": null, "by": "root (command line)"}');
INSERT INTO "audit" VALUES(9,1712750400000000,'token_created','bob','fisiz-vobuj',NULL,NULL,NULL,'{"name": "elsewhere", "scopes": ["code:read"], "addresses": ["192.0.2.0/24"], "not_before": null, "expires_at": null, "by": "root (command line)"}');
INSERT INTO "audit" VALUES(10,1713614400000000,'token_created','bob','pimip-hahif',NULL,NULL,NULL,'{"name": "pending", "scopes": ["code:read"], "addresses": null, "not_before": "2124-01-01T00:00:00Z", "expires_at": null, "by": "root (command line)"}');
INSERT INTO "audit" VALUES(11,1714478400000000,'token_created','bob','kikid-tubor',NULL,NULL,NULL,'{"name": "expired", "scopes": ["code:read"], "addresses": null, "not_before": null, "expires_at": "2024-05-30T12:00:00Z", "by": "root (command line)"}');
INSERT INTO "audit" VALUES(12,1715342400000000,'token_created','alice','mobiz-raduz',NULL,NULL,NULL,'{"name": "ends", "scopes": ["code:read"], "addresses": null, "not_before": null, "expires_at": "2124-01-01T23:59:59Z", "by": "root (command line)"}');
INSERT INTO "audit" VALUES(13,1716206400000000,'token_created','build','hasuv-visub',NULL,NULL,NULL,'{"name": "service", "scopes": ["code:write"], "addresses": null, "not_before": null, "expires_at": null, "by": "root (command line)"}');
INSERT INTO "audit" VALUES(14,1717070400000000,'token_created','mallory','lufom-hahaj',NULL,NULL,NULL,'{"name": "disabled", "scopes": ["code:write"], "addresses": null, "not_before": null, "expires_at": null, "by": "root (command line)"}');
INSERT INTO "audit" VALUES(15,1717934400000000,'token_created','alice','soguj-dotoj',NULL,NULL,NULL,'{"name": "revoked", "scopes": ["code:write"], "addresses": null, "not_before": null, "expires_at": null, "by": "root (command line)"}');
INSERT INTO "audit" VALUES(16,1718798400000000,'token_created','alice','rijih-vudog',NULL,NULL,NULL,'{"name": "edited", "scopes": ["work_items:read"], "addresses": null, "not_before": null, "expires_at": null, "by": "root (command line)"}');
INSERT INTO "audit" VALUES(17,1719662400000000,'token_created','alice','bihan-pogod',NULL,NULL,NULL,'{"name": "items", "scopes": ["work_items:read"], "addresses": null, "not_before": null, "expires_at": null, "by": "root (command line)"}');
INSERT INTO "audit" VALUES(18,1720526400000000,'token_created','alice','bituj-fodub',NULL,NULL,NULL,'{"name": "rotatedOld", "scopes": ["code:read"], "addresses": null, "not_before": null, "expires_at": null, "by": "root (command line)"}');
INSERT INTO "audit" VALUES(19,1735214400000000,'account_enabled','carol',NULL,NULL,NULL,NULL,'{"by": "root (command line)"}');
INSERT INTO "audit" VALUES(20,1735214400000000,'account_disabled','mallory',NULL,NULL,NULL,NULL,'{"by": "root (command line)"}');
INSERT INTO "audit" VALUES(21,1735214400000000,'token_revoked','alice','soguj-dotoj',NULL,NULL,NULL,'{"by": "root (command line)", "reason": "left on a train"}');
INSERT INTO "audit" VALUES(22,1735214400000000,'token_edited','alice','rijih-vudog',NULL,NULL,NULL,'{"by": "root (command line)", "changes": {"scopes": [["work_items:read"], ["code:read", "work_items:read"]]}}');
INSERT INTO "audit" VALUES(23,1735214400000000,'token_rotated','alice','bituj-fodub',NULL,NULL,NULL,'{"by": "root (command line)"}');
INSERT INTO "audit" VALUES(24,1726574400000000,'clone','alice','gosan-rupop','team/app','192.0.2.7','000000000001','{}');
INSERT INTO "audit" VALUES(25,1726574400000000,'push','build','hasuv-visub','team/app','192.0.2.7','000000000002','{"updates": [{"ref": "refs/heads/main", "old": "0000000000000000000000000000000000000000", "new": "5555555555555555555555555555555555555555", "outcome": "ok"}]}');
INSERT INTO "audit" VALUES(26,1733054400000000,'clone','alice','gosan-rupop','team/app','192.0.2.7','000000000003','{}');
INSERT INTO "audit" VALUES(27,1733054400000000,'push','build','hasuv-visub','team/app','192.0.2.7','000000000004','{"updates": [{"ref": "refs/heads/main", "old": "0000000000000000000000000000000000000000", "new": "5555555555555555555555555555555555555555", "outcome": "ok"}]}');
INSERT INTO "audit" VALUES(28,1734436800000000,'clone','alice','gosan-rupop','team/app','192.0.2.7','000000000005','{}');
INSERT INTO "audit" VALUES(29,1734436800000000,'fetch','alice','gosan-rupop','team/app','192.0.2.7','000000000006','{}');
INSERT INTO "audit" VALUES(30,1734436800000000,'fetch','alice','gosan-rupop','team/app','192.0.2.7','000000000007','{}');
INSERT INTO "audit" VALUES(31,1734436800000000,'fetch','alice','gosan-rupop','team/app','192.0.2.7','000000000008','{}');
INSERT INTO "audit" VALUES(32,1734436800000000,'fetch','alice','gosan-rupop','team/app','192.0.2.7','000000000009','{}');
INSERT INTO "audit" VALUES(33,1734436800000000,'push','build','hasuv-visub','team/app','192.0.2.7','00000000000a','{"updates": [{"ref": "refs/heads/main", "old": "0000000000000000000000000000000000000000", "new": "5555555555555555555555555555555555555555", "outcome": "ok"}]}');
INSERT INTO "audit" VALUES(34,1734523200000000,'clone','alice','gosan-rupop','team/app','192.0.2.7','00000000000b','{}');
INSERT INTO "audit" VALUES(35,1734523200000000,'fetch','alice','gosan-rupop','team/app','192.0.2.7','00000000000c','{}');
INSERT INTO "audit" VALUES(36,1734523200000000,'fetch','alice','gosan-rupop','team/app','192.0.2.7','00000000000d','{}');
INSERT INTO "audit" VALUES(37,1734523200000000,'fetch','alice','gosan-rupop','team/app','192.0.2.7','00000000000e','{}');
INSERT INTO "audit" VALUES(38,1734523200000000,'push','build','hasuv-visub','team/app','192.0.2.7','00000000000f','{"updates": [{"ref": "refs/heads/main", "old": "0000000000000000000000000000000000000000", "new": "5555555555555555555555555555555555555555", "outcome": "ok"}]}');
INSERT INTO "audit" VALUES(39,1735732800000000,'clone','alice','gosan-rupop','team/app','192.0.2.7','000000000010','{}');
INSERT INTO "audit" VALUES(40,1735732800000000,'fetch','alice','gosan-rupop','team/app','192.0.2.7','000000000011','{}');
INSERT INTO "audit" VALUES(41,1735732800000000,'fetch','alice','gosan-rupop','team/app','192.0.2.7','000000000012','{}');
INSERT INTO "audit" VALUES(42,1735732800000000,'fetch','alice','gosan-rupop','team/app','192.0.2.7','000000000013','{}');
INSERT INTO "audit" VALUES(43,1735732800000000,'fetch','alice','gosan-rupop','team/app','192.0.2.7','000000000014','{}');
INSERT INTO "audit" VALUES(44,1735732800000000,'push','build','hasuv-visub','team/app','192.0.2.7','000000000015','{"updates": [{"ref": "refs/heads/main", "old": "0000000000000000000000000000000000000000", "new": "5555555555555555555555555555555555555555", "outcome": "ok"}]}');
INSERT INTO "audit" VALUES(45,1736337600000000,'clone','alice','gosan-rupop','team/app','192.0.2.7','000000000016','{}');
INSERT INTO "audit" VALUES(46,1736337600000000,'fetch','alice','gosan-rupop','team/app','192.0.2.7','000000000017','{}');
INSERT INTO "audit" VALUES(47,1736337600000000,'fetch','alice','gosan-rupop','team/app','192.0.2.7','000000000018','{}');
INSERT INTO "audit" VALUES(48,1736337600000000,'push','build','hasuv-visub','team/app','192.0.2.7','000000000019','{"updates": [{"ref": "refs/heads/main", "old": "0000000000000000000000000000000000000000", "new": "5555555555555555555555555555555555555555", "outcome": "ok"}]}');
INSERT INTO "audit" VALUES(49,1736856000000000,'clone','alice','gosan-rupop','team/app','192.0.2.7','00000000001a','{}');
INSERT INTO "audit" VALUES(50,1736856000000000,'fetch','alice','gosan-rupop','team/app','192.0.2.7','00000000001b','{}');
INSERT INTO "audit" VALUES(51,1736856000000000,'push','build','hasuv-visub','team/app','192.0.2.7','00000000001c','{"updates": [{"ref": "refs/heads/main", "old": "0000000000000000000000000000000000000000", "new": "5555555555555555555555555555555555555555", "outcome": "ok"}]}');
INSERT INTO "audit" VALUES(52,1736942400000000,'clone','alice','gosan-rupop','team/app','192.0.2.7','00000000001d','{}');
INSERT INTO "audit" VALUES(53,1736942400000000,'push','build','hasuv-visub','team/app','192.0.2.7','00000000001e','{"updates": [{"ref": "refs/heads/main", "old": "0000000000000000000000000000000000000000", "new": "5555555555555555555555555555555555555555", "outcome": "ok"}]}');
INSERT INTO "audit" VALUES(54,1736683200000000,'archive','bob','rolid-ramos','team/app','192.0.2.7','00000000001f','{}');
INSERT INTO "audit" VALUES(55,1736769600000000,'clone','bob','rolid-ramos','team/app','192.0.2.7','000000000020','{"aborted": true}');
INSERT INTO "audit" VALUES(56,1736769600000000,'push','build','hasuv-visub','team/app','192.0.2.7','000000000021','{"updates": [{"ref": "refs/tags/v1", "old": "0000000000000000000000000000000000000000", "new": "5555555555555555555555555555555555555555", "outcome": "ok"}, {"ref": "refs/heads/x", "old": "0000000000000000000000000000000000000000", "new": "5555555555555555555555555555555555555555", "outcome": "ng", "reason": "pre-receive hook declined"}]}');
INSERT INTO "audit" VALUES(57,1736856000000000,'refused','alice','soguj-dotoj','team/app','192.0.2.7','000000000022','{"code": "token_revoked", "service": "git-upload-pack"}');
INSERT INTO "audit" VALUES(58,1736856000000000,'refused','bob','kikid-tubor','team/app','192.0.2.7','000000000023','{"code": "token_expired", "service": "git-upload-pack"}');
INSERT INTO "audit" VALUES(59,1736856000000000,'refused','alice','bihan-pogod','team/app','192.0.2.7','000000000024','{"code": "scope_missing", "service": "git-upload-pack"}');
INSERT INTO "audit" VALUES(60,1736856000000000,'refused','bob','fisiz-vobuj','team/app','192.0.2.7','000000000025','{"code": "address_denied", "service": "git-upload-pack"}');
CREATE TABLE tokens (
	id TEXT NOT NULL, 
	account_id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	digest BLOB NOT NULL, 
	hint TEXT NOT NULL, 
	scopes JSON NOT NULL, 
	addresses JSON, 
	created_at BIGINT NOT NULL, 
	not_before BIGINT, 
	expires_at BIGINT, 
	last_used_at BIGINT, 
	last_used_from TEXT, 
	revoked_at BIGINT, 
	revoked_by TEXT, 
	revoked_reason TEXT, 
	PRIMARY KEY (id), 
	CONSTRAINT tokens_digest_unique UNIQUE (digest), 
	CONSTRAINT tokens_account_exists FOREIGN KEY(account_id) REFERENCES accounts (id)
);
INSERT INTO "tokens" VALUES('gosan-rupop',1,'laptop',X'8A1657888D1BA209E2E678C3D3B8C5CEEB511BB230D8DF6D7922E0275D741AA6','gpat_…mBmO','["code:write"]',NULL,1711022400000000,NULL,NULL,1736942400000000,'192.0.2.7',NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('rolid-ramos',2,'reader',X'BF617B216773FBA99C232C2203B9B212DB8B75CB2CA29563DFB923039B1F7FEC','gpat_…pPDK','["code:read"]','["127.0.0.0/8", "::1/128"]',1711886400000000,NULL,NULL,1736769600000000,'192.0.2.7',NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('fisiz-vobuj',2,'elsewhere',X'419A31E62A7B4B61D6CCB9ED523F3C544A063F8A9828377E5099F8ACCF203519','gpat_…hKmQ','["code:read"]','["192.0.2.0/24"]',1712750400000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('pimip-hahif',2,'pending',X'B20CEB48B7179D7D36058CF63F14EA07C66A6D62479F8CCA17C5F261C9964877','gpat_…xoqp','["code:read"]',NULL,1713614400000000,4859740800000000,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('kikid-tubor',2,'expired',X'A191104E046B2C91BB294BAD94495F4781E71B98DCE3EAE374FB39B7A7AC0595','gpat_…ptgD','["code:read"]',NULL,1714478400000000,NULL,1717070400000000,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('mobiz-raduz',1,'ends',X'626EAA0501861292AEC42613394473FB16C2557333193A3DE079B23D225DDED6','gpat_…NLfg','["code:read"]',NULL,1715342400000000,NULL,4859827199000000,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('hasuv-visub',3,'service',X'DB9ED254657D9753BED14F260060198D2CC4A871A6423F18FCF8A7AFA0E12FDD','gpat_…WJqE','["code:write"]',NULL,1716206400000000,NULL,NULL,1736769600000000,'192.0.2.7',NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('lufom-hahaj',4,'disabled',X'42567E940E706FEB1B786B7BF8B8A3BBA7FF5C0DE12FC050F221D3326E4284D4','gpat_…L5gN','["code:write"]',NULL,1717070400000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('soguj-dotoj',1,'revoked',X'529C01B0624D97A72E67B44157E7B2AA049965FB71AF06CB9E4A17AD94066FE2','gpat_…84IW','["code:write"]',NULL,1717934400000000,NULL,NULL,NULL,NULL,1735214400000000,'root (command line)','left on a train');
INSERT INTO "tokens" VALUES('rijih-vudog',1,'edited',X'F3FEB6F2E5A49E17ABA9985A096DD40D833669631EA3DEC68DBD9E371F54DF1E','gpat_…2wDt','["code:read", "work_items:read"]',NULL,1718798400000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('bihan-pogod',1,'items',X'DAC89A8A83DE3ED6D36707EF1A1A6DAB94551A5A343FE118AB63BF82365DDFD8','gpat_…xNkk','["work_items:read"]',NULL,1719662400000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES('bituj-fodub',1,'rotatedOld',X'A9253B283A841A0DAE13C34BA560850C74C85A111DF09C0618FA00760FB681AD','gpat_…Hvl5','["code:read"]',NULL,1720526400000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE INDEX tokens_by_account ON tokens (account_id);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_token ON audit (token, at);
CREATE INDEX audit_by_account ON audit (account, at);
CREATE INDEX audit_by_repository ON audit (repository, at);
COMMIT;
